"""What a storage pool does: volumes, overlays, copies, and the guard that keeps what is in use."""

from __future__ import annotations

import io

import pytest

from contract.host import Host, a_record
from moltfleet.model.errors import AlreadyExists, InUse, InvalidInput, NotFound
from moltfleet.model.size import Size


class StorageContract:
    """Runs wherever libvirt keeps at least the descriptions of volumes."""

    def test_an_unknown_volume_is_not_found(self, host: Host) -> None:
        assert host.storage.find(host.name("nope.qcow2")) is None
        with pytest.raises(NotFound, match="does not exist"):
            host.storage.get(host.name("nope.qcow2"))

    def test_a_new_volume_is_found_and_listed_as_it_was_asked_for(self, host: Host) -> None:
        made = host.storage.create_empty(host.name("a.qcow2"), capacity=Size.of_mib(64), format="qcow2")
        assert (made.name, made.format, made.capacity) == (host.name("a.qcow2"), "qcow2", Size.of_mib(64))
        assert made.backing is None
        assert host.storage.get(made.name) == made
        assert made in host.storage.volumes()

    def test_a_volume_lies_where_its_path_was_told_beforehand(self, host: Host) -> None:
        told = host.storage.path_of(host.name("a.qcow2"))
        assert host.storage.get(host.disk("a.qcow2")).path == told

    def test_a_name_is_used_once(self, host: Host) -> None:
        name = host.disk("a.qcow2")
        with pytest.raises(AlreadyExists):
            host.storage.create_empty(name, capacity=Size.of_mib(64), format="qcow2")

    def test_an_overlay_stands_on_its_backing_and_has_its_size(self, host: Host) -> None:
        base = host.storage.get(host.disk("base.qcow2"))
        overlay = host.storage.create_overlay(host.name("a.qcow2"), backing=base.name)
        assert (overlay.backing, overlay.format, overlay.capacity) == (base.path, "qcow2", base.capacity)

    def test_an_overlay_may_be_larger_but_not_smaller(self, host: Host) -> None:
        base = host.disk("base.qcow2")
        larger = host.storage.create_overlay(host.name("a.qcow2"), backing=base, capacity=Size.of_mib(128))
        assert larger.capacity == Size.of_mib(128)
        with pytest.raises(InvalidInput, match="smaller than its image"):
            host.storage.create_overlay(host.name("b.qcow2"), backing=base, capacity=Size.of_mib(32))

    def test_an_overlay_on_nothing_is_refused(self, host: Host) -> None:
        with pytest.raises(NotFound):
            host.storage.create_overlay(host.name("a.qcow2"), backing=host.name("nope.qcow2"))
        assert host.storage.find(host.name("a.qcow2")) is None

    def test_an_overlay_never_replaces_a_volume(self, host: Host) -> None:
        base, taken = host.disk("base.qcow2"), host.disk("a.qcow2")
        with pytest.raises(AlreadyExists):
            host.storage.create_overlay(taken, backing=base)
        assert host.storage.get(taken).backing is None

    def test_a_flat_copy_stands_alone(self, host: Host) -> None:
        overlay = host.disk("a.qcow2", backing=host.disk("base.qcow2"))
        seen: list[int] = []
        copy = host.storage.copy_flat(overlay, host.name("copy.qcow2"), on_bytes=seen.append)
        assert (copy.backing, copy.format, copy.capacity) == (None, "qcow2", Size.of_mib(64))

    def test_the_pool_has_room(self, host: Host) -> None:
        found = host.storage.find_free_space()
        assert found is not None and found > Size.of_mib(1)

    def test_a_pool_is_as_large_as_what_is_free_in_it_or_larger(self, host: Host) -> None:
        host.disk("a.qcow2")
        free, size = host.storage.find_free_space(), host.storage.find_size()
        assert free is not None and size is not None and size >= free

    def test_deleting_says_whether_there_was_something(self, host: Host) -> None:
        name = host.disk("a.qcow2")
        assert host.storage.delete(name) is True
        assert host.storage.find(name) is None
        assert host.storage.delete(name) is False

    def test_a_volume_under_another_is_kept_until_that_is_gone(self, host: Host) -> None:
        base = host.disk("base.qcow2")
        overlay = host.disk("a.qcow2", backing=base)
        with pytest.raises(InUse, match=overlay):
            host.storage.delete(base)
        host.storage.delete(overlay)
        assert host.storage.delete(base) is True

    def test_a_defined_disk_is_kept_but_not_from_its_owner(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        domain = host.domain("a", disk)
        with pytest.raises(InUse, match=domain):
            host.storage.delete(disk)
        assert host.storage.delete(disk, owner=domain) is True

    def test_a_running_disk_is_kept_even_from_its_owner(self, host: Host) -> None:
        disk = host.disk("a.qcow2")
        domain = host.domain("a", disk)
        host.hypervisor.start(domain)
        host.hypervisor.set_disk(domain, host.disk("b.qcow2"))
        with pytest.raises(InUse, match=domain):
            host.storage.delete(disk, owner=domain)

    def test_what_a_record_names_is_kept_but_not_from_its_owner(self, host: Host) -> None:
        top, kept = host.disk("a.qcow2"), host.disk("kept.qcow2")
        domain = host.domain("a", top, record=a_record(top, record_of=(kept,)))
        with pytest.raises(InUse, match=domain):
            host.storage.delete(kept)
        assert host.storage.delete(kept, owner=domain) is True

    def test_a_golden_volume_is_kept_while_a_clone_is_recorded_on_it(self, host: Host) -> None:
        golden, top = host.disk("g1.qcow2"), host.disk("a.qcow2")
        domain = host.domain("a", top, record=a_record(top, golden_volume=golden))
        with pytest.raises(InUse, match=domain):
            host.storage.delete(golden)


class ContentContract:
    """Runs where volumes are files with content."""

    def test_what_is_uploaded_is_read_back(self, host: Host) -> None:
        name = host.name("a.json")
        host.storage.create_empty(name, capacity=Size(4), format="raw")
        moved: list[int] = []
        host.storage.upload(name, io.BytesIO(b"abcd"), length=4, on_bytes=moved.append)
        assert host.storage.read(name, limit=100).rstrip(b"\0") == b"abcd"
        assert moved[-1] == 4

    def test_reading_is_bounded(self, host: Host) -> None:
        name = host.name("a.json")
        host.storage.create_empty(name, capacity=Size(4), format="raw")
        host.storage.upload(name, io.BytesIO(b"abcd"), length=4)
        assert host.storage.read(name, limit=2) == b"ab"

    def test_there_is_no_upload_into_nothing(self, host: Host) -> None:
        with pytest.raises(NotFound):
            host.storage.upload(host.name("nope"), io.BytesIO(b"abcd"), length=4)

    def test_a_flat_copy_can_be_enlarged(self, host: Host) -> None:
        copy = host.storage.copy_flat(host.disk("a.qcow2"), host.name("b.qcow2"), capacity=Size.of_mib(128))
        assert copy.capacity == Size.of_mib(128)
