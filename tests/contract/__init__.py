"""What every implementation of a port must do: run over the fakes, over libvirt's test driver, and over a real host.

A module that subclasses a contract provides the fixture ``host``, and cleans up whatever carries its prefix.
"""
