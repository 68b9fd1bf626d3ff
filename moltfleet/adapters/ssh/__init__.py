"""SSH into guests: the ``Guests`` port. The only importer of paramiko."""

from moltfleet.adapters.ssh.login import SshGuests
from moltfleet.adapters.ssh.session import SshSession

__all__ = ["SshGuests", "SshSession"]
