"""Domains through libvirt: looked at in bulk, defined from a specification, started, saved and restored."""

from __future__ import annotations

import contextlib
import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import libvirt

from moltfleet.adapters.libvirt import agent, domain_xml, host, metadata, statistics
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.saving import RamImages
from moltfleet.adapters.libvirt.states import STATES
from moltfleet.adapters.libvirt.storage import LibvirtStorage
from moltfleet.model.domain import CommandResult, Domain, DomainSpec, DomainState, HostFacts, VirtType
from moltfleet.model.errors import GuestUnreachable, MoltfleetError, NotFound, ToolFailed, WrongState
from moltfleet.model.load import DomainUse
from moltfleet.model.names import not_found
from moltfleet.model.records import Record
from moltfleet.model.size import Size
from moltfleet.model.vitals import Vitals

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_START_TIMEOUT_S = 120.0
_SAVE_TIMEOUT_S = 1800.0
_UNDEFINE_FLAGS = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


class LibvirtHypervisor:
    """The :class:`~moltfleet.model.ports.Hypervisor` port on a libvirt connection."""

    def __init__(self, gate: Gate, storage: LibvirtStorage, local: host.LocalMachine | None, virt_type: str) -> None:
        self._gate = gate
        self._storage = storage
        self._local = local
        self._virt_type = virt_type
        self._ram_images = RamImages(is_local=local is not None)
        self._host: HostFacts | None = None
        self._cpu_model: str | None = None

    # Looking

    def host(self) -> HostFacts:
        """See the port; looked up once."""
        if self._host is None:
            self._host = self._gate.call(
                "read host facts",
                lambda c: host.read(c, uri=self._gate.uri, local=self._local, wanted=self._virt_type),
                repeatable=True,
            )
        return self._host

    def domains(self) -> tuple[Domain, ...]:
        """See the port: one bulk listing, one of all states, then a description each that waits behind no job."""
        return self._gate.call("list domains", lambda c: tuple(_read_all(c)), repeatable=True)

    def memory_use(self) -> tuple[DomainUse, ...]:
        """See the port: one bulk call."""
        emulated = self.host().virt_type is VirtType.QEMU
        return self._gate.call("measure domains", lambda c: statistics.read_use(c, emulated=emulated), repeatable=True)

    def vitals(self, *, timeout_s: float) -> tuple[Vitals, ...]:
        """See the port: two bulk calls."""
        return self._gate.call("look at all domains", statistics.read_vitals, timeout_s=timeout_s, repeatable=True)

    def find(self, name: str) -> Domain | None:
        """See the port."""
        return self._gate.call(f"look up {name}", lambda c: _find(c, name), repeatable=True)

    def get(self, name: str) -> Domain:
        """See the port."""
        domain = self.find(name)
        if domain is None:
            raise not_found("domain", name, ())
        return domain

    def live_chain(self, name: str) -> tuple[str, ...]:
        """See the port."""
        return domain_xml.chain(self._document(name, 0))

    def fingerprint(self, name: str) -> str:
        """See the port."""
        return self._fingerprint(self._document(name, _INACTIVE))

    def fingerprints(self, names: Collection[str]) -> Mapping[str, str]:
        """See the port: one bulk listing."""
        wanted = frozenset(names)
        texts = self._gate.call("describe domains", lambda c: dict(_describe_all(c, wanted)), repeatable=True)
        return {name: self._fingerprint(ET.fromstring(text)) for name, text in texts.items()}

    def _fingerprint(self, document: ET.Element) -> str:
        facts = self.host()
        machine = document.find("os/type")
        parts = {
            "libvirt": facts.libvirt_version,
            "qemu": facts.qemu_version,
            "machine": "" if machine is None else machine.get("machine", ""),
            "cpu": self._cpu(),
            "kernel": self._local.kernel if self._local else "",
            "definition": domain_xml.definition_digest(document),
        }
        return json.dumps(parts, sort_keys=True)

    def _cpu(self) -> str:
        def model(connection: Any) -> str:
            return ET.fromstring(connection.getCapabilities()).findtext("host/cpu/model", "")

        if self._cpu_model is None:
            self._cpu_model = self._gate.call("read capabilities", model, repeatable=True)
        return self._cpu_model

    def snapshot_names(self, name: str) -> tuple[str, ...]:
        """See the port."""
        return self._with(name, "list snapshots of", lambda d: tuple(d.snapshotListNames(0)))

    def _document(self, name: str, flags: int) -> ET.Element:
        return ET.fromstring(self._with(name, "describe", lambda d: d.XMLDesc(flags)))

    # Defining

    def define(self, spec: DomainSpec) -> None:
        """See the port."""
        seed = None if spec.seed is None else self._storage.path_of(spec.seed)
        xml = domain_xml.build(spec, disk_path=self._storage.path_of(spec.disk), seed_path=seed)
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        self._gate.call(f"define {spec.name}", lambda c: c.defineXMLFlags(xml, flags))

    def write_record(self, name: str, record: Record) -> None:
        """See the port. Always in the persistent configuration: a restore brings back the live metadata of the save."""
        text = metadata.to_text(record)

        def write(domain: Any) -> None:
            domain.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                text,
                metadata.PREFIX,
                metadata.NAMESPACE,
                libvirt.VIR_DOMAIN_AFFECT_CONFIG,
            )

        self._with(name, "write metadata of", write, timeout_s=_SAVE_TIMEOUT_S)

    def set_disk(self, name: str, volume: str) -> None:
        """See the port."""
        document = self._document(name, _INACTIVE)
        domain_xml.strip_backing(document)
        domain_xml.put_disk(document, self._storage.path_of(volume))
        xml = ET.tostring(document, encoding="unicode")
        self._gate.call(f"redefine {name}", lambda c: c.defineXML(xml))

    def undefine(self, name: str) -> None:
        """See the port."""

        def remove(domain: Any) -> None:
            _drop_managed_save(domain)
            domain.undefineFlags(_UNDEFINE_FLAGS)

        with contextlib.suppress(NotFound):
            self._with(name, "undefine", remove)

    def discard_snapshots(self, name: str) -> None:
        """See the port."""

        def discard(domain: Any) -> None:
            for snapshot in domain.listAllSnapshots(0):
                snapshot.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)

        self._with(name, "drop snapshot metadata of", discard)

    # Running

    def start(self, name: str) -> None:
        """See the port. The recorded chain is stripped first, as it would be believed over the qcow2 headers."""

        def create(domain: Any) -> None:
            _drop_managed_save(domain)
            domain.createWithFlags(libvirt.VIR_DOMAIN_START_FORCE_BOOT)

        document = self._document(name, _INACTIVE)
        if document.find("devices/disk/backingStore") is not None:
            domain_xml.strip_backing(document)
            xml = ET.tostring(document, encoding="unicode")
            self._gate.call(f"redefine {name}", lambda c: c.defineXML(xml))
        self._with(name, "start", create, timeout_s=_START_TIMEOUT_S)

    def destroy(self, name: str) -> None:
        """See the port."""

        def cut(domain: Any) -> None:
            if domain.isActive():
                with _tolerating(libvirt.VIR_ERR_OPERATION_INVALID):
                    domain.destroy()

        self._with(name, "cut the power of", cut, timeout_s=60)

    def suspend(self, name: str) -> None:
        """See the port."""
        self._with(name, "pause", lambda domain: domain.suspend())

    def resume(self, name: str) -> None:
        """See the port."""
        self._with(name, "resume", lambda domain: domain.resume())

    def request_shutdown(self, name: str) -> str:
        """See the port."""
        try:
            flags = libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
            self._with(name, "shut down (by agent)", lambda d: d.shutdownFlags(flags), timeout_s=10)
        except MoltfleetError:
            flags = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
            self._with(name, "shut down (by ACPI)", lambda d: d.shutdownFlags(flags))
            return "acpi"
        return "agent"

    def save(self, name: str, ram: str) -> None:
        """See the port."""
        path = self._storage.path_of(ram)
        self._with(name, "save", lambda d: self._ram_images.save(d, path), timeout_s=_SAVE_TIMEOUT_S)

    def restore(self, name: str, ram: str, *, disk: str, record: Record) -> None:
        """See the port. The XML is the image's own, as its generation id differs from the definition's."""
        image = self._storage.path_of(ram)
        disk_path = self._storage.path_of(disk)

        def act(connection: Any) -> None:
            _drop_managed_save(connection.lookupByName(name))
            flags = libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE
            document = ET.fromstring(connection.saveImageGetXMLDesc(image, flags))
            domain_xml.strip_backing(document)
            domain_xml.put_disk(document, disk_path)
            domain_xml.shrink_translation_cache(document)
            metadata.put_into(document, record)
            self._ram_images.restore(connection, image, ET.tostring(document, encoding="unicode"))

        self._gate.call(f"restore {name}", act, timeout_s=_START_TIMEOUT_S)

    def freeze_disk(self, name: str, overlay: str) -> None:
        """See the port. The definition carries ``<backingStore>`` afterwards, so it is rewritten at once (D5a)."""
        xml = domain_xml.disk_snapshot(self._document(name, 0), self._storage.path_of(overlay))
        flags = (
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
        )
        self._with(name, "freeze the disk of", lambda d: d.snapshotCreateXML(xml, flags), timeout_s=120)
        self.set_disk(name, overlay)

    # Guests

    def addresses(self, name: str) -> tuple[str, ...]:
        """See the port."""
        return self._with(name, "read addresses of", agent.addresses)

    def agent_answers(self, name: str) -> bool:
        """See the port."""
        try:
            self._with(name, "ping the agent of", lambda d: agent.ask(d, {"execute": "guest-ping"}, timeout_s=2))
        except MoltfleetError:
            return False
        return True

    def agent_run(
        self, name: str, argv: Sequence[str], *, input: bytes = b"", timeout_s: float, limit: int = 65536
    ) -> CommandResult:
        """See the port."""
        request = agent.ExecRequest(argv=tuple(argv), input=input, timeout_s=timeout_s, limit=limit)
        return self._with(name, "run by agent in", lambda d: agent.run(d, request), timeout_s=timeout_s + 10)

    def agent_clock(self, name: str) -> float:
        """See the port."""
        try:
            return self._with(name, "read the clock of", agent.clock)
        except ToolFailed as error:
            raise GuestUnreachable(f"Guest agent of {name!r} did not tell the time", details=error.details) from error

    def authorize_key(self, name: str, user: str, public_key: str) -> None:
        """See the port."""

        def add(domain: Any) -> None:
            domain.authorizedSSHKeysSet(user, [public_key], libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND)

        try:
            self._with(name, "authorise a key in", add, timeout_s=15)
        except ToolFailed as error:
            raise GuestUnreachable(f"Guest agent of {name!r} did not take the key", details=error.details) from error

    def _with(self, name: str, act: str, function: Callable[[Any], _T], *, timeout_s: float | None = None) -> _T:
        def work(connection: Any) -> _T:
            return function(connection.lookupByName(name))

        return self._gate.call(f"{act} {name}", work, timeout_s=timeout_s)


def _find(connection: Any, name: str) -> Domain | None:
    try:
        domain = connection.lookupByName(name)
        return _read(domain)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _read_all(connection: Any) -> Iterator[Domain]:
    listed = connection.listAllDomains(0)
    states = statistics.read_states(connection)
    for domain in listed:
        # It may have been undefined since the listing, or defined since the look at the states.
        with _tolerating(libvirt.VIR_ERR_NO_DOMAIN):
            yield _read_defined(domain, states.get(domain.UUIDString()) or _state(domain), tolerant=True)


def _describe_all(connection: Any, names: frozenset[str]) -> Iterator[tuple[str, str]]:
    for domain in connection.listAllDomains(0):
        if domain.name() in names:
            # It may have been undefined since the listing.
            with _tolerating(libvirt.VIR_ERR_NO_DOMAIN):
                yield domain.name(), domain.XMLDesc(_INACTIVE)


def _record(document: ET.Element, *, tolerant: bool) -> Record | None:
    """Read the record; one that cannot be read makes a domain as untouchable as a foreign one, and hides no other."""
    try:
        return metadata.from_domain(document)
    except WrongState as error:
        if not tolerant:
            raise
        _LOG.warning("%s", error.brief)
        return None


def _state(domain: Any) -> DomainState:
    return STATES.get(domain.state(0)[0], DomainState.UNKNOWN)


def _read(domain: Any) -> Domain:
    """Read all of one domain: its definition, and what runs."""
    found = _read_defined(domain, _state(domain))
    if found.state in (DomainState.SHUT_OFF, DomainState.CRASHED):
        return found
    live = ET.fromstring(domain.XMLDesc(0))
    return replace(found, active_memory=_memory(live), active_disk=domain_xml.first_disk_path(live))


def _read_defined(domain: Any, state: DomainState, *, tolerant: bool = False) -> Domain:
    document = ET.fromstring(domain.XMLDesc(_INACTIVE))
    record = _record(document, tolerant=tolerant)
    return Domain(
        name=domain.name(),
        uuid=domain.UUIDString(),
        state=state,
        memory=_memory(document),
        vcpus=int(document.findtext("vcpu", "1")),
        record=record,
        inactive_disk=domain_xml.first_disk_path(document),
        unreadable=metadata.role_in(document) if record is None else None,
    )


def _memory(document: ET.Element) -> Size:
    return Size(int(document.findtext("memory", "0")) * 1024)


def _drop_managed_save(domain: Any) -> None:
    # A managed save would be resumed silently on whatever overlay is there now (measured on 9.0).
    if domain.hasManagedSaveImage(0):
        domain.managedSaveRemove(0)


@contextlib.contextmanager
def _tolerating(*codes: int) -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise
