"""Where adopting meets libvirt; apart from the wiring, as no other command looks at other people's domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.host import is_local
from moltfleet.adapters.libvirt.takeover import LibvirtTakeover

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.takeover import Takeover


def build_takeover(config: Config) -> Takeover:
    """What looks at other people's domains, and makes them ours; libvirt is only connected when it is first needed."""
    return LibvirtTakeover(Gate(config.uri, timeout_s=config.timeouts.libvirt_call), is_local=is_local(config.uri))
