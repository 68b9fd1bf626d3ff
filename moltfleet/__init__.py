"""Linked clones of libvirt guests for coding agents: sized, watched, and molted back to clean."""

__version__ = "0.1.0"
