"""RAM images: sparse and moved by several threads where binding, libvirt and QEMU can, else as they always were.

A sparse image (libvirt 11.2, QEMU 9.0) has each page at an offset of its own. docs/adr/0009 says what that gives, and
why such an image is flushed here: libvirt does not do it, and an image with holes where pages were looks complete.
"""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import libvirt

from moltfleet.adapters.flush import FlushedFileSystem
from moltfleet.adapters.libvirt import domain_xml
from moltfleet.model.errors import ToolFailed

_LOG = logging.getLogger(__name__)
_MOST_CHANNELS = 4
# In the order of _Names. A binding built against headers older than 11.2 lacks the last two, and would send the number
# of channels in a type that libvirt does not take.
_CONSTANTS = (
    "VIR_DOMAIN_SAVE_PARAM_FILE",
    "VIR_DOMAIN_SAVE_PARAM_DXML",
    "VIR_DOMAIN_SAVE_PARAM_IMAGE_FORMAT",
    "VIR_DOMAIN_SAVE_PARAM_PARALLEL_CHANNELS",
)
# What a libvirt that does not know the call or a parameter says, or one whose QEMU cannot write such images, before the
# guest is so much as paused; and what it says of an image that is not sparse (qemu_driver.c of libvirt 11.3).
_REFUSALS = (
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
)
_RUNNING = libvirt.VIR_DOMAIN_SAVE_RUNNING


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of parameters, as the binding tells them."""

    file: str
    xml: str
    image_format: str
    channels: str


class RamImages:
    """Saves and restores on one host; remembers the connection over which a sparse image was refused."""

    def __init__(self, *, is_local: bool) -> None:
        self._is_local = is_local
        self._refused_over: Any = None

    def save(self, domain: Any, path: str) -> None:
        """Save a running domain into the new file ``path``; on return that is complete, and on the disk."""
        names, connection = _find_names(), domain.connect()
        if names is not None and self._is_local and connection is not self._refused_over:
            file_system = _find_file_system(domain)
            if file_system is not None:
                wanted = {names.file: path, names.image_format: "sparse", names.channels: _channels(connection)}
                if _has_saved(domain, wanted, file_system):
                    return
                self._refused_over = connection
        domain.saveFlags(path, None, _RUNNING)

    def restore(self, connection: Any, path: str, xml: str) -> None:
        """Restore a domain from an image of either kind with the edited ``xml``; it runs on return."""
        names = _find_names()
        if names is not None:
            wanted = {names.file: path, names.xml: xml, names.channels: _channels(connection)}
            if _has_restored(connection, wanted):
                return
        connection.restoreFlags(path, xml, _RUNNING)


def _find_names() -> _Names | None:
    """None when the binding does not know all of what is needed."""
    names = [getattr(libvirt, constant, "") for constant in _CONSTANTS]
    has_calls = hasattr(libvirt.virDomain, "saveParams") and hasattr(libvirt.virConnect, "restoreParams")
    return _Names(*names) if has_calls and all(names) else None


def _find_file_system(domain: Any) -> FlushedFileSystem | None:
    """Where the images are, by the domain's disk, which everybody may read; None when nobody here could flush that."""
    disk = domain_xml.first_disk_path(ET.fromstring(domain.XMLDesc(0)))
    try:
        return None if disk is None else FlushedFileSystem(disk)
    except OSError as error:
        _LOG.debug("no sparse image, as it could not be flushed: %s", error)
        return None


def _has_saved(domain: Any, wanted: dict[str, Any], file_system: FlushedFileSystem) -> bool:
    try:
        with file_system:
            domain.saveParams(wanted, _RUNNING)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _REFUSALS or not domain.isActive():
            raise
        _LOG.debug("no sparse image: %s", error)
        return False
    except OSError as error:
        raise ToolFailed(f"RAM image of {domain.name()!r} did not reach the disk", details=str(error)) from error
    return True


def _has_restored(connection: Any, wanted: dict[str, Any]) -> bool:
    try:
        connection.restoreParams(wanted, _RUNNING)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _REFUSALS:
            raise
        _LOG.debug("restored by one thread: %s", error)
        return False
    return True


def _channels(connection: Any) -> int:
    return max(1, min(_MOST_CHANNELS, int(connection.getInfo()[2])))
