"""SSH into guests: the ``Guests`` port. The only importer of paramiko."""

from moltfleet.adapters.ssh.guests import SshGuests

__all__ = ["SshGuests"]
