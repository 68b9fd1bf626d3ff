"""What a hypervisor does with domains: definitions, metadata, power, and other people's snapshots."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from contract.host import Host, a_record
from moltfleet.model.domain import DomainState, VirtType
from moltfleet.model.errors import AlreadyExists, MoltfleetError, NotFound, ToolFailed, WrongState
from moltfleet.model.records import CleanPoint, CloneRecord, Layer, Pending, Verb
from moltfleet.model.size import Size
from moltfleet.model.vitals import Reason, Vitals
from moltfleet.model.volumes import Stamp


class DomainContract:
    """Runs wherever domains can be defined and started, with or without a guest in them."""

    def test_an_unknown_domain_is_not_found(self, host: Host) -> None:
        assert host.hypervisor.find(host.name("nope")) is None
        with pytest.raises(NotFound):
            host.hypervisor.get(host.name("nope"))

    @pytest.mark.parametrize("act", ["start", "destroy", "request_shutdown", "fingerprint", "snapshot_names"])
    def test_there_is_nothing_to_do_with_an_unknown_domain(self, host: Host, act: str) -> None:
        with pytest.raises(NotFound):
            getattr(host.hypervisor, act)(host.name("nope"))

    def test_a_defined_domain_is_shut_off_and_as_specified(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        spec = host.spec("a", disk, memory=Size.of_mib(96), vcpus=2)
        host.hypervisor.define(spec)
        domain = host.hypervisor.get(spec.name)
        assert (domain.name, domain.uuid, domain.state) == (spec.name, spec.uuid, DomainState.SHUT_OFF)
        assert (domain.memory, domain.vcpus, domain.record) == (Size.of_mib(96), 2, spec.record)
        assert (domain.active_disk, domain.inactive_disk) == (None, host.storage.path_of(disk))
        assert domain.active_memory is None

    def test_a_name_is_defined_once(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        name = host.domain("a", disk)
        before = host.hypervisor.get(name)
        with pytest.raises(AlreadyExists):
            host.domain("a", disk)
        assert host.hypervisor.get(name) == before

    def test_the_listing_tells_what_a_single_look_tells_but_for_what_runs(self, host: Host) -> None:
        names = [host.domain(stem, host.disk(f"{stem}.qcow2")) for stem in ("a", "b")]
        host.hypervisor.start(names[0])
        listed = {domain.name: domain for domain in host.hypervisor.domains()}
        looked_at = [replace(host.hypervisor.get(name), active_memory=None, active_disk=None) for name in names]
        assert [listed[name] for name in names] == looked_at
        assert [domain.is_active for domain in looked_at] == [True, False]

    def test_a_foreign_domain_is_listed_without_a_record(self, host: Host) -> None:
        host.define_foreign(host.name("theirs"))
        assert host.hypervisor.get(host.name("theirs")).record is None
        assert host.name("theirs") in {domain.name for domain in host.hypervisor.domains()}

    def test_memory_use_tells_active_domains_and_no_others(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        running = host.domain("a", disk, memory=Size.of_mib(96), vcpus=2)
        host.domain("off", host.disk("off.qcow2"))
        host.define_foreign(host.name("theirs"))
        host.hypervisor.start(running)
        host.hypervisor.start(host.name("theirs"))
        used = {use.name: use for use in host.hypervisor.memory_use() if use.name.startswith(host.prefix)}
        assert set(used) == {running, host.name("theirs")}
        use = used[running]
        assert (use.state, use.memory, use.vcpus) == (DomainState.RUNNING, Size.of_mib(96), 2)
        assert use.emulated is (host.hypervisor.host().virt_type is VirtType.QEMU)
        host.hypervisor.destroy(running)
        assert running not in {use.name for use in host.hypervisor.memory_use()}

    def test_vitals_tell_all_domains_and_a_life_only_of_those_that_have_one(self, host: Host) -> None:
        running = host.domain("a", host.disk("a.qcow2"))
        off = host.domain("off", host.disk("off.qcow2"))
        host.define_foreign(host.name("theirs"))
        host.hypervisor.start(running)
        told = self.vitals(host)
        assert set(told) == {running, off, host.name("theirs")}
        assert {name: vitals.state for name, vitals in told.items()} == {
            running: DomainState.RUNNING,
            off: DomainState.SHUT_OFF,
            host.name("theirs"): DomainState.SHUT_OFF,
        }
        assert (bool(told[running].life), told[off].life) == (True, "")

    def test_a_restart_is_another_life(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        host.hypervisor.start(name)
        first, again = self.vitals(host)[name], self.vitals(host)[name]
        host.hypervisor.destroy(name)
        assert self.vitals(host)[name].reason is Reason.CUT
        host.hypervisor.start(name)
        assert first.life == again.life != self.vitals(host)[name].life

    def test_what_is_paused_goes_on_when_it_is_resumed(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        host.hypervisor.start(name)
        before = self.vitals(host)[name].life
        host.hypervisor.suspend(name)
        paused = self.vitals(host)[name]
        assert (paused.state, paused.reason, paused.life) == (DomainState.PAUSED, Reason.BY_HAND, before)
        host.hypervisor.resume(name)
        assert (host.hypervisor.get(name).state, self.vitals(host)[name].life) == (DomainState.RUNNING, before)

    def test_what_is_off_is_neither_paused_nor_resumed(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        for act in (host.hypervisor.suspend, host.hypervisor.resume):
            with pytest.raises(MoltfleetError):
                act(name)

    def vitals(self, host: Host) -> dict[str, Vitals]:
        """All that is told of this run's domains."""
        told = host.hypervisor.vitals(timeout_s=30)
        return {vitals.name: vitals for vitals in told if vitals.name.startswith(host.prefix)}

    def test_a_started_domain_runs_on_its_disk(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        name = host.domain("a", disk)
        host.hypervisor.start(name)
        domain = host.hypervisor.get(name)
        assert domain.is_active
        assert domain.active_disk == domain.inactive_disk == host.storage.path_of(disk)
        assert domain.active_memory == domain.memory
        assert host.hypervisor.live_chain(name)[0] == host.storage.path_of(disk)

    def test_a_running_domain_is_not_started_again(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        host.hypervisor.start(name)
        with pytest.raises(MoltfleetError):
            host.hypervisor.start(name)
        assert host.hypervisor.get(name).is_active

    def test_cutting_power_can_be_repeated(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        host.hypervisor.start(name)
        for _ in range(2):
            host.hypervisor.destroy(name)
            assert host.hypervisor.get(name).state is DomainState.SHUT_OFF

    def test_a_new_disk_path_waits_for_the_next_start(self, host: Host) -> None:
        old, new = host.disk("a.qcow2"), host.disk("b.qcow2")
        name = host.domain("a", old)
        host.hypervisor.start(name)
        host.hypervisor.set_disk(name, new)
        domain = host.hypervisor.get(name)
        assert domain.active_disk == host.storage.path_of(old)
        assert domain.inactive_disk == host.storage.path_of(new)
        host.hypervisor.destroy(name)
        host.hypervisor.start(name)
        assert host.hypervisor.get(name).active_disk == host.storage.path_of(new)

    def test_a_new_disk_path_leaves_everything_else(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        before = host.hypervisor.get(name)
        new = host.disk("b.qcow2")
        host.hypervisor.set_disk(name, new)
        assert host.hypervisor.get(name) == replace(before, inactive_disk=host.storage.path_of(new))

    @pytest.mark.parametrize("is_running", [False, True])
    def test_a_record_is_read_as_it_was_written(self, host: Host, is_running: bool) -> None:
        disk = host.disk("a.qcow2")
        name = host.domain("a", disk)
        if is_running:
            host.hypervisor.start(name)
        record = a_full_record(disk)
        host.hypervisor.write_record(name, record)
        assert host.hypervisor.get(name).record == record
        host.hypervisor.destroy(name)
        assert host.hypervisor.get(name).record == record

    def test_an_undefined_domain_is_gone_and_may_be_undefined_again(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        for _ in range(2):
            host.hypervisor.undefine(name)
            assert host.hypervisor.find(name) is None

    def test_snapshots_are_seen_and_do_not_keep_a_domain(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        assert host.hypervisor.snapshot_names(name) == ()
        host.make_snapshot(name, "before-lunch")
        assert host.hypervisor.snapshot_names(name) == ("before-lunch",)
        host.hypervisor.undefine(name)
        assert host.hypervisor.find(name) is None

    def test_discarded_snapshots_are_gone(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        host.make_snapshot(name, "before-lunch")
        host.hypervisor.discard_snapshots(name)
        assert host.hypervisor.snapshot_names(name) == ()

    def test_a_fingerprint_is_stable_json_that_disks_and_records_do_not_change(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        name = host.domain("a", disk)
        before = host.hypervisor.fingerprint(name)
        assert isinstance(json.loads(before), dict)
        host.hypervisor.set_disk(name, host.disk("b.qcow2"))
        host.hypervisor.write_record(name, a_full_record(disk))
        assert host.hypervisor.fingerprint(name) == before

    def test_many_fingerprints_are_those_of_each_and_what_does_not_exist_has_none(self, host: Host) -> None:
        names = [host.domain(stem, host.disk(f"{stem}.qcow2"), vcpus=n) for n, stem in enumerate("abc", start=1)]
        asked = [*names[:2], host.name("missing")]
        assert host.hypervisor.fingerprints(asked) == {name: host.hypervisor.fingerprint(name) for name in names[:2]}

    def test_domains_of_other_sizes_have_other_fingerprints(self, host: Host) -> None:
        one = host.domain("a", host.disk("a.qcow2"))
        other = host.domain("b", host.disk("b.qcow2"), vcpus=2)
        assert host.hypervisor.fingerprint(one) != host.hypervisor.fingerprint(other)

    def test_a_stopped_domain_has_no_address_and_no_agent(self, host: Host) -> None:
        name = host.domain("a", host.disk("a.qcow2"))
        assert host.hypervisor.addresses(name) == ()
        assert not host.hypervisor.agent_answers(name)
        with pytest.raises(ToolFailed):
            host.hypervisor.agent_run(name, ("/bin/true",), timeout_s=0.1)
        with pytest.raises(MoltfleetError):
            host.hypervisor.agent_clock(name)


class ChainContract:
    """Runs where QEMU, or what stands for it, opens real chains and has the states of its own."""

    def test_a_stopped_domain_cannot_be_asked_to_power_off(self, host: Host) -> None:
        with pytest.raises(WrongState):
            host.hypervisor.request_shutdown(host.domain("a", host.disk("a.qcow2")))

    def test_the_live_chain_is_told_top_first(self, host: Host) -> None:
        base = host.disk("base.qcow2")
        clean = host.disk("clean.qcow2", backing=base)
        top = host.disk("a.qcow2", backing=clean)
        name = host.domain("a", top)
        host.hypervisor.start(name)
        assert host.hypervisor.live_chain(name) == tuple(host.storage.path_of(v) for v in (top, clean, base))

    def test_a_domain_on_a_missing_disk_does_not_start(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        name = host.domain("a", disk)
        host.storage.delete(disk, owner=name)
        with pytest.raises(ToolFailed):
            host.hypervisor.start(name)
        assert not host.hypervisor.get(name).is_active


class SavingContract:
    """Runs where RAM can be saved and restored with another document."""

    def saved(self, host: Host) -> tuple[str, str]:
        """A domain that was saved on its clean layer; returns it and the RAM volume."""
        name, ram = host.domain("a", host.disk("clean.qcow2")), host.name("a.ram")
        host.hypervisor.start(name)
        host.hypervisor.save(name, ram)
        return name, ram

    def test_a_saved_domain_is_shut_off_and_its_ram_is_a_volume(self, host: Host) -> None:
        name, ram = self.saved(host)
        assert host.hypervisor.get(name).state is DomainState.SHUT_OFF
        assert host.storage.find(ram) is not None

    def test_ram_comes_back_on_another_overlay(self, host: Host) -> None:
        name, ram = self.saved(host)
        top = host.disk("a.1.qcow2", backing=host.name("clean.qcow2"))
        record = a_record(top)
        host.hypervisor.write_record(name, record)
        host.hypervisor.set_disk(name, top)
        host.hypervisor.restore(name, ram, disk=top, record=record)
        domain = host.hypervisor.get(name)
        assert (domain.is_active, domain.active_disk) == (True, host.storage.path_of(top))
        expected = (host.storage.path_of(top), host.storage.path_of(host.name("clean.qcow2")))
        assert host.hypervisor.live_chain(name) == expected
        assert domain.record == record

    def test_a_running_domain_is_not_restored_over(self, host: Host) -> None:
        name, ram = self.saved(host)
        top = host.disk("a.1.qcow2", backing=host.name("clean.qcow2"))
        host.hypervisor.set_disk(name, top)
        host.hypervisor.start(name)
        with pytest.raises(WrongState):
            host.hypervisor.restore(name, ram, disk=top, record=a_record(top))
        assert host.hypervisor.get(name).is_active

    @pytest.mark.parametrize("missing", ["ram", "disk"])
    def test_a_failed_restore_leaves_the_domain_defined_and_off(self, host: Host, missing: str) -> None:
        name, ram = self.saved(host)
        top = host.disk("a.1.qcow2", backing=host.name("clean.qcow2"))
        host.storage.delete(ram if missing == "ram" else top, owner=name)
        with pytest.raises(ToolFailed):
            host.hypervisor.restore(name, ram, disk=top, record=a_record(top))
        assert host.hypervisor.get(name).state is DomainState.SHUT_OFF

    def test_a_stopped_domain_has_nothing_to_save(self, host: Host) -> None:
        with pytest.raises(WrongState):
            host.hypervisor.save(host.domain("a", host.disk("a.qcow2")), host.name("a.ram"))


def a_full_record(top: str) -> CloneRecord:
    """A record with every part filled in, and every character that a document could trip over."""
    base = a_record(top)
    assert isinstance(base, CloneRecord)
    stamp = Stamp("a.clean.qcow2", "1795168806.123456789", 123)
    return replace(
        base,
        user="<&\"'>]]>",
        clean=CleanPoint(
            (stamp,), "2026-11-20T10:00:00Z", "a.ram", 1, '{"kernel": "6.1\\n\\"ä€😀\\""}', "nonce", "boot", 1
        ),
        shed=Layer("a.0.qcow2", "2026-11-20T11:00:00Z"),
        kept=(Layer("a.9.qcow2", "2026-11-20T11:00:00Z", "monday"),),
        pending=Pending(Verb.MOLT, "a.2.qcow2", "a.1.qcow2", "2026-11-20T12:00:00Z", "label", ("a.3.qcow2",)),
        trash=("a.4.qcow2",),
        next_number=5,
        wants_ram=False,
    )
