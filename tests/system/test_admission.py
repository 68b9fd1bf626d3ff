"""Admission on a real host: many processes and two users at once start QEMUs, and exactly those run that fit.

What runs is counted by virsh. Most QEMUs here have no guest system: their disks are blank, so that a start is admitted,
runs, and ends in the deadline of a guest that never answers, which takes seconds instead of a boot.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from moltfleet.model.overhead import footprint
from moltfleet.model.size import Size

from . import soundness
from .conftest import LONGEST_S, POOL, TINY_CONFIG, Lab, User

PAUSED = Path(__file__).with_name("paused.py")
REMOTE_ROOM = Path(__file__).with_name("remote_room.py")
# The whole proof is fifty rounds of about ten seconds; docs/testing.md.
ROUNDS = int(os.environ.get("MOLTFLEET_ADMISSION_ROUNDS", "3"))
BLANK = Size.of_mib(64)
BLANKS = tuple(f"blank-{number}" for number in range(1, 11))
RESERVE = Size.of_gib(1)
NO_GUEST, NO_ROOM = 6, 5
# A guest without a system never answers; the deadlines are not stretched for emulation.
LIMITS = 'emulation_factor = 1\ndisk_growth = "8M"\n'
SECONDS = "[timeouts]\nssh = {ssh}\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A lab with a tiny golden, and two users in it whose settings say how much memory there is."""

    lab: Lab
    alice: User
    bob: User
    emulated: bool

    def need(self, memory: Size) -> Size:
        """What a clone of one vCPU takes of the host, by the documented formula."""
        return footprint(memory, vcpus=1, emulated=self.emulated)

    def fits(self, clones: float, memory: Size = BLANK, *, ssh: int = 3, label: str = "host") -> tuple[User, User]:
        """Both users, on a host that has room for so many clones of that memory and nothing else."""
        total = RESERVE + self.need(memory) * clones
        text = f'host_memory = "{total.mib}M"\n{LIMITS}{TINY_CONFIG}{SECONDS.format(ssh=ssh)}'
        users = [User(self.lab, user.name, ("--config", user.write(f"{label}.toml", text))) for user in self.users]
        return users[0], users[1]

    @property
    def users(self) -> tuple[User, User]:
        return self.alice, self.bob

    def running(self) -> set[str]:
        """Who runs, as libvirt sees it."""
        return set(self.lab.virsh("list", "--name", "--state-running").split())

    def cut(self, names: Sequence[str]) -> None:
        """Cut the power of all of them."""
        self.lab.run("sh", "-c", 'for n; do virsh -q destroy "$n" || :; done', "-", *names)

    def definitions(self, names: Iterable[str]) -> dict[str, str]:
        """What is defined for each, our record included."""
        sorted_names = sorted(names)
        told = self.lab.out("sh", "-c", 'for n; do virsh dumpxml --inactive "$n" || exit; done', "-", *sorted_names)
        documents = [document.strip() for document in told.split("<domain ")[1:]]
        return dict(zip(sorted_names, documents, strict=True))


@pytest.fixture(scope="module")
def place(lab: Lab, alice: User, bob: User, tiny: str) -> Iterator[Place]:
    """The lab, with ten clones that have no guest system."""
    assert lab.virsh("list", "--name") == "", "every domain of a host counts, so that none may run"
    alice.run("create", tiny, "blank", "-n", "10", "--no-start", "--no-warm", "--memory", "64M", "--vcpus", "1")
    # Nothing to boot from: the first MiB of the disk reads as zeros.
    wipe = "for f; do qemu-io -c 'write -z 0 1M' $f >/dev/null || exit; done"
    lab.run("sh", "-c", wipe, "-", *(f"{POOL}/{name}.clean.qcow2" for name in BLANKS))
    yield Place(lab, alice, bob, "type='qemu'" in lab.virsh("dumpxml", "blank-1"))
    alice.run("delete", *BLANKS, "--yes")


@pytest.fixture
def blanks(place: Place) -> Iterator[tuple[str, ...]]:
    """Ten clones without a guest system, off before and after."""
    place.cut(BLANKS)
    yield BLANKS
    place.cut(BLANKS)


@pytest.fixture
def theirs(place: Place) -> Iterator[str]:
    """Somebody else's running domain, without a disk."""
    kind = "qemu" if place.emulated else "kvm"
    xml = f"<domain type='{kind}'><name>theirs</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    place.lab.run("virsh", "-q", "create", "/dev/stdin", input=xml)
    yield "theirs"
    place.cut(["theirs"])


def all_at_once(starts: Sequence[tuple[User, str]]) -> list[int]:
    """Start clones, each in a process of its own, all at the same time; their exit codes."""
    running = [(user.name, name, user.start("start", name, "-q")) for user, name in starts]
    for user, name, process in running:
        _, said = process.communicate(timeout=LONGEST_S)
        print(f"{user} {name}: {process.returncode} {said}")
    return [process.returncode for _, _, process in running]


@dataclass(slots=True)
class Command:
    """moltfleet under way, as a user runs it. What it says goes into a file, so that it can be read at any time."""

    user: User
    process: subprocess.Popen[str]
    said_file: Path

    @property
    def said(self) -> str:
        """Everything on stderr until now."""
        return self.said_file.read_text()

    def wait_for(self, condition: Callable[[], bool], *, timeout_s: float = LONGEST_S / 4) -> None:
        """Wait for something that it brings about. Fails at once when it has ended instead."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, f"{self.process.args}: {self.process.returncode}\n{self.said}"
            assert time.monotonic() < deadline, f"waited in vain for {self.process.args}\n{self.said}"
            time.sleep(0.1)

    def end(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(timeout=LONGEST_S)

    def signal(self, number: signal.Signals, pattern: str) -> None:
        """Send a signal to its very process, which is found by its command line."""
        pids = self.user.lab.out("pgrep", "-u", self.user.name, "-f", pattern).split()
        self.user.lab.run("kill", f"-{number.value}", *pids)


@dataclass(slots=True)
class Commands:
    """Starts commands; whatever a test does, none outlives it."""

    folder: Path
    started: list[Command] = field(default_factory=list)

    def start(self, user: User, *arguments: str) -> Command:
        """Start moltfleet and do not wait."""
        return self._start(user, user.argv(*arguments))

    def start_paused(self, user: User, effect: str, file: str, *arguments: str) -> Command:
        """Likewise, and it waits at one of its effects from when the file is there until it is removed."""
        argv = (sys.executable, str(PAUSED), effect, file, *user.settings, *arguments)
        return self._start(user, user.lab.argv(argv, user=user.name))

    def _start(self, user: User, argv: list[str]) -> Command:
        said = self.folder / f"said-{len(self.started)}"
        with said.open("w") as file:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, text=True
            )
        self.started.append(Command(user, process, said))
        return self.started[-1]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    for command in commands.started:
        command.process.terminate()
        command.end()


@contextmanager
def pause_file(user: User) -> Iterator[str]:
    """A path at which a paused command makes its file; it goes on at the end of the context at the latest."""
    file = user.write("paused", "")
    user.lab.run("rm", file)
    try:
        yield file
    finally:
        user.lab.run("rm", "-f", file)


def is_there(lab: Lab, file: str) -> bool:
    return lab.run("test", "-e", file, check=False).returncode == 0


def test_of_ten_starts_at_once_by_two_users_exactly_three_run(
    place: Place, blanks: tuple[str, ...], theirs: str
) -> None:
    # Somebody else's domain takes the room of a fourth.
    alice, bob = place.fits(4.5)
    others = place.lab.virsh("domid", theirs)
    volumes = place.lab.volumes()
    for number in range(ROUNDS):
        before = place.definitions(blanks)
        codes = all_at_once([((alice, bob)[n % 2], name) for n, name in enumerate(blanks)])
        running = place.running()
        assert len(running - {theirs}) == 3, f"round {number}: {sorted(running)}, {codes}"
        assert {name for name, code in zip(blanks, codes, strict=True) if code == NO_GUEST} == running - {theirs}
        assert sorted(codes) == [NO_ROOM] * 7 + [NO_GUEST] * 3
        refused = {name for name, code in zip(blanks, codes, strict=True) if code == NO_ROOM}
        assert place.definitions(refused) == {name: before[name] for name in refused}
        assert (place.lab.virsh("domid", theirs), place.lab.volumes()) == (others, volumes)
        place.cut(blanks)


@pytest.fixture
def boots(place: Place) -> Iterator[list[str]]:
    """Four clones of the tiny guest that were never started."""
    names = [f"boot-{number}" for number in range(1, 5)]
    place.alice.run("create", "tiny", "boot", "-n", "4", "--no-start", "--no-warm")
    yield list(names)
    place.alice.run("delete", *names, "--yes")


def test_three_rounds_with_guests_that_boot_and_two_users(place: Place, boots: list[str]) -> None:
    alice, bob = place.fits(2.5, Size.of_mib(192), ssh=300, label="boot")
    names, were_ready = boots, set[str]()
    for _ in range(3):
        place.cut(names)
        codes = all_at_once([((alice, bob)[n % 2], name) for n, name in enumerate(names)])
        assert sorted(codes) == [0, 0, NO_ROOM, NO_ROOM]
        ready = {name for name, code in zip(names, codes, strict=True) if code == 0}
        were_ready |= ready
        assert place.running() == ready
        assert {name: bob.shell(name, "hostname") for name in ready} == {name: name for name in ready}
        names.reverse()
    # What is running is never refused: its molt gives its memory back first.
    assert {r["outcome"] for r in alice.json("molt", *ready, "--yes")["results"]} == {"molted"}
    place.cut(names)
    soundness.check(place.lab)
    for name in sorted(set(names) - were_ready):
        alice.run("start", name)
        place.cut([name])
    # After the host went down: those that ran are started one after the other, as many as fit.
    stopped, *others = sorted(names)
    alice.run("stop", stopped)
    document = alice.json("start", "--were-running", code=1)
    results = {result["clone"]: result["outcome"] for result in document["results"]}
    assert results == dict(zip(others, ("started", "started", "failed"), strict=True))
    assert place.running() == set(others[:2])
    (refused,) = (result for result in document["results"] if result["outcome"] == "failed")
    assert "rule committed" in refused["error"]["brief"]


def test_a_refusal_says_why_and_what_would_fit(place: Place, blanks: tuple[str, ...], theirs: str) -> None:
    alice, _ = place.fits(1.5)
    done = alice.run("start", blanks[0], code=NO_ROOM)
    assert f"No room for '{blanks[0]}' (64 MiB), rule committed: 1 active domain " in done.stderr
    assert "(host_memory in the config)" in done.stderr
    assert "Hint: No clone fits now." in done.stderr or "Hint: The largest clone that fits now has " in done.stderr
    (result,) = alice.json("start", blanks[0], code=NO_ROOM)["results"]
    assert result["error"]["code"] == "no-room"
    assert place.running() == {theirs}
    # Nobody's word but the reason's: it goes on, and the record keeps why.
    alice.run("start", blanks[0], "--force", "the demo is now", code=NO_GUEST)
    assert place.running() == {theirs, blanks[0]}
    record = next(seen.record for seen in soundness.look(place.lab) if seen.name == blanks[0])
    assert (record["forced"]["reason"], record["forced"]["by"]) == ("the demo is now", "mf-alice")


def test_a_guest_that_grows_between_the_check_and_the_start_is_caught(
    place: Place, blanks: tuple[str, ...], theirs: str, commands: Commands
) -> None:
    """A QEMU takes a gigabyte more than it was ever promised, while a clone that was let in is being made."""
    alice, _ = place.fits(2.5, label="grow")
    late = ("create", "tiny", "late", "--memory", "64M", "--vcpus", "1", "--no-warm")
    with pause_file(alice) as file:
        creating = commands.start_paused(alice, "create.overlaid", file, *late)
        creating.wait_for(lambda: is_there(place.lab, file))
        grow = {"qom-type": "memory-backend-ram", "id": "more", "size": 1 << 30, "prealloc": True}
        place.lab.virsh("qemu-monitor-command", theirs, json.dumps({"execute": "object-add", "arguments": grow}))
        assert int(place.lab.virsh("dommemstat", theirs).split("rss ")[1].split()[0]) > 1_000_000
    assert creating.end() == NO_ROOM, creating.said
    assert "No room for 'late'" in creating.said
    assert "Taking 'late' away again" in creating.said
    assert place.running() == {theirs}
    assert "late" not in place.lab.domains()
    assert not any(volume.startswith("late.") for volume in place.lab.volumes())


def test_room_is_kept_for_a_start_under_way_and_dies_with_its_process(
    place: Place, blanks: tuple[str, ...], commands: Commands
) -> None:
    alice, bob = place.fits(1.5)
    first, second = blanks[:2]
    with pause_file(alice) as file:
        starting = commands.start_paused(alice, "create.started", file, "start", first)
        starting.wait_for(lambda: is_there(place.lab, file))
        assert place.running() == {first}
        refused = bob.run("start", second, code=NO_ROOM)
        assert "1 active domain " in refused.stderr
        assert " 0.00 GiB reserved for starts" in refused.stderr, "a start under way counts once"
        # Without its domain only the reservation is left of it, and it counts.
        place.cut([first])
        refused = bob.run("start", second, code=NO_ROOM)
        assert "0 active domains 0.00 GiB" in refused.stderr
        assert " 0.00 GiB reserved for starts" not in refused.stderr
        starting.signal(signal.SIGKILL, f"paused.py create.started .* start {first}")
        starting.end()
    bob.run("start", second, code=NO_GUEST)
    assert place.running() == {second}


def test_room_of_a_remote_libvirt_is_kept_in_its_pool_where_another_user_sees_it(place: Place) -> None:
    volumes = place.lab.volumes()
    first = keep_remotely(place.alice, "far-1")
    try:
        assert answer_of(first) == "kept"
        second = keep_remotely(place.bob, "far-2")
        assert answer_of(second) == "kept far-1:mf-alice"
        second.communicate(timeout=60)
        killed = place.lab.out("pgrep", "-u", place.alice.name, "-f", "remote_room.py far-1").split()
        place.lab.run("kill", "-9", *killed)
        first.communicate(timeout=60)
        assert "room.far-1.lock" in place.lab.volumes() - volumes
        # Its process is gone, and this is its machine: nobody has to wait for its time to be over.
        third = keep_remotely(place.bob, "far-1")
        assert answer_of(third) == "kept"
        third.communicate(timeout=60)
    finally:
        first.kill()
    assert place.lab.volumes() == volumes


def keep_remotely(user: User, name: str) -> subprocess.Popen[str]:
    argv = user.lab.argv((sys.executable, str(REMOTE_ROOM), name), user=user.name)
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_start_waits_for_room_says_for_what_and_can_be_interrupted(
    place: Place, blanks: tuple[str, ...], commands: Commands
) -> None:
    alice, _ = place.fits(1.5)
    first, second, third = blanks[:3]
    alice.run("start", first, code=NO_GUEST)
    assert alice.run("start", second, "--wait-for-room=2", code=NO_ROOM).stderr.count("No room for") == 2
    waiting = commands.start(alice, "start", second, "--wait-for-room")
    interrupted = commands.start(alice, "start", third, "--wait-for-room")
    for command, name in ((waiting, second), (interrupted, third)):
        command.wait_for(lambda name=name, command=command: f"Waiting for room for {name}" in command.said)
    assert place.running() == {first}
    interrupted.signal(signal.SIGINT, f"start {third}")
    assert interrupted.end() == 130, interrupted.said
    place.cut([first])
    assert waiting.end() == NO_GUEST, waiting.said
    assert f"No room for '{second}' (64 MiB), rule committed: 1 active domain" in waiting.said
    assert place.running() == {second}
    soundness.check(place.lab)
