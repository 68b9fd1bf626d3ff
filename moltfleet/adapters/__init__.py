"""The outside world behind the ports of :mod:`moltfleet.model.ports`; each foreign library has one importer here."""
