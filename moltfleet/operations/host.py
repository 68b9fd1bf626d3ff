"""The bundle of ports and settings that the operations on the host itself are functions of; libvirt is not needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.containment import Limits

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.machine import Machine
    from moltfleet.model.ports import Bootstrap, Progress


@dataclass(frozen=True, slots=True)
class Host:
    """This machine, with the settings that say how it is to be divided."""

    config: Config
    machine: Machine
    templates: Bootstrap
    progress: Progress

    def limits(self) -> Limits:
        """How the memory of this machine, or what counts as it, is divided. Raises: NoCapacity (reserve too large)."""
        memory = self.machine.memory()
        return Limits(min(memory, self.config.host_memory or memory), self.config.reserve)

    def unit(self, name: str, *properties: str) -> Mapping[str, str]:
        """Properties of one systemd unit as text; one that does not exist has most of them too."""
        return next(iter(self.machine.units([name], properties)), {})

    def loaded_units(self, names: Sequence[str], *properties: str) -> tuple[Mapping[str, str], ...]:
        """Those of the units that exist, each once: Debian's sshd.service is another name of ssh.service."""
        found = self.machine.units(names, ("LoadState", *properties))
        return tuple({unit["Id"]: unit for unit in found if unit.get("LoadState") == "loaded"}.values())
