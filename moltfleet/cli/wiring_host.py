"""Where the operations on the host itself meet adapters; apart from the wiring, as root may have no libvirt binding."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from moltfleet.adapters.lockdirectory import is_local_uri
from moltfleet.adapters.machine import LocalMachine
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.errors import HostUnavailable, InvalidInput
from moltfleet.operations.host import Host

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.ports import Progress


def build_host(config: Config, progress: Progress) -> Host:
    """Join the ports of one run. Raises: InvalidInput when the settings mean another machine."""
    if not is_local_uri(config.uri):
        raise InvalidInput(
            f"libvirt at {config.uri} is on another machine, and this command is about this one",
            hint="Run it there.",
        )
    machine = LocalMachine(free_page_reporting=partial(_free_page_reporting, config.uri))
    return Host(config=config, machine=machine, templates=BootstrapFiles(), progress=progress)


def _free_page_reporting(uri: str) -> Mapping[str, bool]:
    try:
        from moltfleet.adapters.libvirt.balloons import free_page_reporting
    except ImportError as error:
        raise HostUnavailable("libvirt's Python binding cannot be loaded", details=str(error)) from error
    return free_page_reporting(uri)
