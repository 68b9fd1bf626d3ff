"""The gate: deadlines and Ctrl-C while a call hangs, a lost connection reopened once, errors translated once."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import libvirt
import pytest

from fakes import FakeClock, FakeLocks
from moltfleet.adapters.libvirt import gate as gate_module
from moltfleet.adapters.libvirt.gate import Gate, in_thread
from moltfleet.adapters.libvirt.storage import LibvirtStorage
from moltfleet.adapters.libvirt.translate import translate
from moltfleet.model.errors import (
    AlreadyExists,
    DeadlinePassed,
    ExitCode,
    HostUnavailable,
    InUse,
    MoltfleetError,
    NoCapacity,
    NoSpace,
    NotFound,
    ToolFailed,
    WrongState,
)


def test_a_call_that_hangs_ends_at_its_deadline(bare_gate: Gate) -> None:
    release = threading.Event()
    started = time.monotonic()
    with pytest.raises(DeadlinePassed, match="libvirt did not answer within 0 s: sleep") as caught:
        bare_gate.call("sleep", lambda _: release.wait(30), timeout_s=0.1)
    release.set()
    assert time.monotonic() - started < 5
    assert caught.value.hint and "libvirtd" in caught.value.hint


def test_a_hanging_call_does_not_keep_the_next_one_waiting(bare_gate: Gate) -> None:
    release = threading.Event()
    with pytest.raises(DeadlinePassed):
        bare_gate.call("sleep", lambda _: release.wait(30), timeout_s=0.05)
    assert bare_gate.call("ask", lambda c: c.getHostname(), timeout_s=10)
    release.set()


def test_after_a_call_that_hangs_the_next_one_has_a_connection_of_its_own(bare_gate: Gate) -> None:
    """On the one that a hung QEMU keeps, libvirt lets later calls wait behind it."""
    release = threading.Event()
    used: list[Any] = []

    def hang(connection: Any) -> None:
        used.append(connection)
        release.wait(30)

    assert bare_gate.call("ask", lambda c: c) is bare_gate.call("ask", lambda c: c)
    with pytest.raises(DeadlinePassed):
        bare_gate.call("sleep", hang, timeout_s=0.05)
    after = bare_gate.call("ask", lambda c: c)
    assert after is not used[0] and after.isAlive()
    assert bare_gate.call("ask", lambda c: c) is after
    release.set()


def test_a_connection_that_does_not_open_ends_at_the_deadline(host_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(gate_module, "open_connection", lambda _: release.wait(30))
    gate = Gate(f"test://{host_file}")
    with pytest.raises(DeadlinePassed):
        gate.call("list", lambda c: c, timeout_s=0.05)
    with pytest.raises(DeadlinePassed):
        gate.call("list", lambda c: c, timeout_s=0.05)
    release.set()


def test_ctrl_c_ends_a_call_that_hangs(bare_gate: Gate) -> None:
    release = threading.Event()
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bare_gate.call("sleep", lambda _: release.wait(30), timeout_s=30)
    release.set()
    assert time.monotonic() - started < 5


def test_what_a_call_raises_reaches_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        in_thread(fail, what="fail", timeout_s=5)


class Flaky:
    """A connection whose libvirtd goes away under the first ``dying`` calls."""

    def __init__(self, dying: int) -> None:
        self.dying = dying
        self.opened = 0

    def open(self, _: str) -> Flaky:
        self.opened += 1
        return self

    def isAlive(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def getHostname(self) -> str:
        if self.dying > 0:
            self.dying -= 1
            raise lost()
        return "host"


class Said(libvirt.libvirtError):
    """What libvirt says, without libvirt saying it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.err = (code, 0, text, 2, None, None, None, -1, -1)


def lost() -> Said:
    return Said(libvirt.VIR_ERR_SYSTEM_ERROR, "Cannot recv data: Connection reset by peer")


def flaky_gate(monkeypatch: pytest.MonkeyPatch, dying: int) -> tuple[Gate, Flaky]:
    connection = Flaky(dying)
    monkeypatch.setattr(gate_module, "open_connection", connection.open)
    return Gate("test:///flaky"), connection


def test_a_repeatable_call_survives_one_loss_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, connection = flaky_gate(monkeypatch, 1)
    assert gate.call("ask", lambda c: c.getHostname(), repeatable=True) == "host"
    assert connection.opened == 2


def test_a_second_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, _ = flaky_gate(monkeypatch, 2)
    with pytest.raises(HostUnavailable, match="was lost during: ask"):
        gate.call("ask", lambda c: c.getHostname(), repeatable=True)


def test_a_call_that_may_have_happened_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, connection = flaky_gate(monkeypatch, 1)
    with pytest.raises(HostUnavailable):
        gate.call("destroy", lambda c: c.getHostname())
    assert connection.opened == 1
    assert gate.call("ask", lambda c: c.getHostname()) == "host"


def test_a_closed_connection_is_opened_again(bare_gate: Gate) -> None:
    assert bare_gate.call("ask", lambda c: c.getHostname())
    bare_gate.close()
    assert bare_gate.call("ask", lambda c: c.getHostname())


@pytest.mark.parametrize(
    ("text", "brief", "hint"),
    [
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied", "No permission", "usermod -aG"),
        ("authentication unavailable: no polkit agent", "No permission", "usermod -aG"),
        ("Failed to connect socket to '/x': No such file or directory", "is not running", "systemctl start"),
        ("Failed to connect socket to '/x': Connection refused", "is not running", "systemctl start"),
        ("Cannot resolve host", "cannot be reached", "Check the URI"),
    ],
)
def test_a_refused_connection_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, text: str, brief: str, hint: str
) -> None:
    def refuse(_: str) -> Any:
        raise Said(libvirt.VIR_ERR_SYSTEM_ERROR, text)

    monkeypatch.setattr(libvirt, "open", refuse)
    with pytest.raises(HostUnavailable, match=brief) as caught:
        Gate("qemu:///system").call("ask", lambda c: c)
    assert caught.value.hint and hint in caught.value.hint
    assert caught.value.exit_code is ExitCode.TOOL_FAILED


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, "Domain not found", NotFound),
        (libvirt.VIR_ERR_NO_STORAGE_POOL, "Storage pool not found", NotFound),
        (libvirt.VIR_ERR_NO_STORAGE_VOL, "Storage volume not found", NotFound),
        (libvirt.VIR_ERR_NO_NETWORK, "Network not found", NotFound),
        (libvirt.VIR_ERR_STORAGE_VOL_EXIST, "exists already", AlreadyExists),
        (libvirt.VIR_ERR_OPERATION_FAILED, "domain 'a' already exists with uuid 1", AlreadyExists),
        (libvirt.VIR_ERR_OPERATION_FAILED, "failed to create image", ToolFailed),
        (libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running", WrongState),
        (libvirt.VIR_ERR_RESOURCE_BUSY, "still in use", InUse),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, "cannot acquire state change lock", DeadlinePassed),
        (libvirt.VIR_ERR_ACCESS_DENIED, "access denied", HostUnavailable),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "unable to write: No space left on device", NoSpace),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "cannot set up guest memory 'pc.ram': Cannot allocate memory", NoCapacity),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "anything else", ToolFailed),
    ],
)
def test_libvirts_codes_become_our_errors_with_its_words_kept(code: int, text: str, kind: type[MoltfleetError]) -> None:
    error = translate(Said(code, text), what="do it")
    assert type(error) is kind
    assert error.details == text
    assert "\n" not in error.brief and "do it" in error.brief


def test_no_space_is_no_capacity_for_the_exit_code() -> None:
    error = translate(Said(libvirt.VIR_ERR_SYSTEM_ERROR, "Disk quota exceeded"), what="create volume a")
    assert error.exit_code is ExitCode.NO_CAPACITY


def test_a_missing_pool_is_named(bare_gate: Gate) -> None:
    storage = LibvirtStorage(bare_gate, FakeLocks(FakeClock()), pool="moltfleet", path="/pool")
    storage._is_ensured = True
    with pytest.raises(NotFound, match="list volumes"):
        storage.volumes()
