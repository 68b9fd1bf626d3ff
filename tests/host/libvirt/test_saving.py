"""RAM images: what is asked of libvirt, and what is done when the binding, libvirt or QEMU cannot.

libvirt's test driver knows none of these calls, so a recorder plays the newer one; tests/system runs on a real one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt
import pytest

from moltfleet.adapters import flush
from moltfleet.adapters.libvirt.saving import RamImages
from moltfleet.model.errors import ToolFailed

RUNNING = libvirt.VIR_DOMAIN_SAVE_RUNNING
IMAGE = "/pool/crab.clean.1.ram"
REFUSALS = [
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
]


class Connection:
    """A connection, and the one domain on it; every call is noted, and those that are to fail do."""

    def __init__(self, disk: Path, *, cpus: int = 2) -> None:
        self.disk = disk
        self.cpus = cpus
        self.calls: list[tuple[Any, ...]] = []
        self.error: libvirt.libvirtError | None = None
        self.is_off_after_error = False
        self.is_active = True

    def _params(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            self.is_active = not self.is_off_after_error
            raise self.error

    def getInfo(self) -> list[Any]:
        return ["x86_64", 4096, self.cpus, 0, 1, 1, 1, 1]

    def restoreParams(self, params: dict[str, Any], flags: int) -> None:
        self._params("restoreParams", params, flags)

    def restoreFlags(self, path: str, xml: str, flags: int) -> None:
        self.calls.append(("restoreFlags", path, xml, flags))

    # The domain

    def connect(self) -> Connection:
        return self

    def name(self) -> str:
        return "crab"

    def isActive(self) -> bool:
        return self.is_active

    def XMLDesc(self, _: int) -> str:
        return f"<domain><devices><disk device='disk'><source file='{self.disk}'/></disk></devices></domain>"

    def saveParams(self, params: dict[str, Any], flags: int) -> None:
        self._params("saveParams", params, flags)

    def saveFlags(self, path: str, xml: str | None, flags: int) -> None:
        self.calls.append(("saveFlags", path, xml, flags))


def said(code: int) -> libvirt.libvirtError:
    """An error as libvirt raises it."""
    error = libvirt.libvirtError("libvirt said no")
    error.err = (code, 10, "libvirt said no", 2, None, None, None, 0, 0)
    return error


SPARSE = ("saveParams", {"file": IMAGE, "image_format": "sparse", "parallel.channels": 2}, RUNNING)
IN_FULL = ("saveFlags", IMAGE, None, RUNNING)
BY_THREADS = ("restoreParams", {"file": IMAGE, "dxml": "<domain/>", "parallel.channels": 2}, RUNNING)
BY_ONE = ("restoreFlags", IMAGE, "<domain/>", RUNNING)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binding that was built against libvirt 11.2."""
    monkeypatch.setattr(libvirt, "VIR_DOMAIN_SAVE_PARAM_IMAGE_FORMAT", "image_format", raising=False)
    monkeypatch.setattr(libvirt, "VIR_DOMAIN_SAVE_PARAM_PARALLEL_CHANNELS", "parallel.channels", raising=False)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binding that was built against libvirt 9.0."""
    monkeypatch.delattr(libvirt, "VIR_DOMAIN_SAVE_PARAM_IMAGE_FORMAT", raising=False)
    monkeypatch.delattr(libvirt, "VIR_DOMAIN_SAVE_PARAM_PARALLEL_CHANNELS", raising=False)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose file systems were flushed."""
    paths: list[str] = []
    monkeypatch.setattr(flush, "_flush", lambda handle: paths.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
    return paths


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    disk = tmp_path / "crab.1.qcow2"
    disk.touch()
    return Connection(disk)


@pytest.fixture
def images() -> RamImages:
    return RamImages(is_local=True)


@pytest.mark.usefixtures("newer")
def test_a_sparse_image_is_asked_for_and_flushed(images: RamImages, connection: Connection, flushed: list[str]) -> None:
    images.save(connection, IMAGE)
    assert connection.calls == [SPARSE]
    assert flushed == [str(connection.disk)]


@pytest.mark.usefixtures("newer", "flushed")
@pytest.mark.parametrize(("cpus", "channels"), [(1, 1), (3, 3), (4, 4), (64, 4)])
def test_there_are_no_more_channels_than_processors_and_few(tmp_path: Path, cpus: int, channels: int) -> None:
    connection = Connection(tmp_path, cpus=cpus)
    RamImages(is_local=True).save(connection, IMAGE)
    RamImages(is_local=True).restore(connection, IMAGE, "<domain/>")
    assert [call[1]["parallel.channels"] for call in connection.calls] == [channels, channels]


@pytest.mark.usefixtures("older")
def test_an_older_binding_saves_and_restores_as_ever(
    images: RamImages, connection: Connection, flushed: list[str]
) -> None:
    images.save(connection, IMAGE)
    images.restore(connection, IMAGE, "<domain/>")
    assert connection.calls == [IN_FULL, BY_ONE]
    assert flushed == []


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("missing", ["saveParams", "restoreParams"])
def test_a_binding_without_one_of_the_calls_is_an_older_one(
    images: RamImages, connection: Connection, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    kind = libvirt.virDomain if missing == "saveParams" else libvirt.virConnect
    monkeypatch.delattr(kind, missing)
    images.save(connection, IMAGE)
    images.restore(connection, IMAGE, "<domain/>")
    assert connection.calls == [IN_FULL, BY_ONE]


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_followed_by_a_save_in_full_and_remembered(
    images: RamImages, connection: Connection, flushed: list[str], code: int
) -> None:
    connection.error = said(code)
    images.save(connection, IMAGE)
    images.save(connection, IMAGE)
    assert connection.calls == [SPARSE, IN_FULL, IN_FULL]
    assert flushed == []


@pytest.mark.usefixtures("newer", "flushed")
def test_another_connection_is_asked_anew(images: RamImages, connection: Connection) -> None:
    connection.error = said(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED)
    images.save(connection, IMAGE)
    reopened = Connection(connection.disk)
    images.save(reopened, IMAGE)
    assert reopened.calls == [SPARSE]


@pytest.mark.usefixtures("newer", "flushed")
def test_a_save_that_failed_is_not_tried_in_another_form(images: RamImages, connection: Connection) -> None:
    connection.error = said(libvirt.VIR_ERR_OPERATION_FAILED)
    with pytest.raises(libvirt.libvirtError):
        images.save(connection, IMAGE)
    assert connection.calls == [SPARSE]


@pytest.mark.usefixtures("newer", "flushed")
def test_a_guest_that_was_lost_over_a_refusal_is_not_saved_again(images: RamImages, connection: Connection) -> None:
    connection.error = said(libvirt.VIR_ERR_OPERATION_UNSUPPORTED)
    connection.is_off_after_error = True
    with pytest.raises(libvirt.libvirtError):
        images.save(connection, IMAGE)
    assert connection.calls == [SPARSE]


@pytest.mark.usefixtures("newer")
def test_what_nobody_here_could_flush_is_saved_in_full(tmp_path: Path, flushed: list[str]) -> None:
    elsewhere, unreadable = Connection(tmp_path), Connection(tmp_path / "none.qcow2")
    RamImages(is_local=False).save(elsewhere, IMAGE)
    RamImages(is_local=True).save(unreadable, IMAGE)
    assert (elsewhere.calls, unreadable.calls) == ([IN_FULL], [IN_FULL])
    assert flushed == []


@pytest.mark.usefixtures("newer")
def test_an_image_that_does_not_reach_the_disk_is_none(
    images: RamImages, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(flush, "_flush", fail)
    with pytest.raises(ToolFailed, match="RAM image of 'crab' did not reach the disk") as caught:
        images.save(connection, IMAGE)
    assert caught.value.details and "Input/output error" in caught.value.details
    assert connection.calls == [SPARSE]


@pytest.mark.usefixtures("newer")
def test_a_restore_takes_threads_and_the_edited_xml(images: RamImages, connection: Connection) -> None:
    images.restore(connection, IMAGE, "<domain/>")
    assert connection.calls == [BY_THREADS]


@pytest.mark.usefixtures("newer")
@pytest.mark.parametrize("code", REFUSALS)
def test_an_image_in_full_is_restored_by_one_thread(images: RamImages, connection: Connection, code: int) -> None:
    connection.error = said(code)
    images.restore(connection, IMAGE, "<domain/>")
    assert connection.calls == [BY_THREADS, BY_ONE]


@pytest.mark.usefixtures("newer")
def test_a_restore_that_failed_is_not_tried_again(images: RamImages, connection: Connection) -> None:
    connection.error = said(libvirt.VIR_ERR_OPERATION_FAILED)
    with pytest.raises(libvirt.libvirtError):
        images.restore(connection, IMAGE, "<domain/>")
    assert connection.calls == [BY_THREADS]
