"""`host check`: every row in every state that it can be in, and that nothing is changed by looking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.machine import UNITS, FakeMachine
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.cli.tables import checks_text
from moltfleet.config import Config
from moltfleet.model.hostcheck import Check, CheckState
from moltfleet.model.size import Size
from moltfleet.operations.host import Host
from moltfleet.operations.host_check import ROWS, check_host
from moltfleet.operations.host_contain import ContainRequest, contain
from moltfleet.progress import RecordingProgress

AVOID = "^(sshd.*|tmux.*|systemd.*|dbus-.*|libvirtd|virt[a-z]*d|dnsmasq|dockerd|containerd.*|earlyoom)$"
ARGUMENTS = ("/usr/bin/earlyoom", "-M", "2621440,1310720", "-s", "100,100", "--avoid", AVOID)
SWAPS = "Filename\tType\tSize\tUsed\tPriority\n{}\tfile\t8388604\t0\t-2\n"


@pytest.fixture
def bare(tmp_path: Path) -> FakeMachine:
    """A host as it comes from its installer, earlyoom and all."""
    machine = FakeMachine(tmp_path)
    machine.add_process(
        7, "earlyoom", cgroup="/system.slice/earlyoom.service", words=("/usr/bin/earlyoom", "-r", "3600")
    )
    return machine


@pytest.fixture
def contained(bare: FakeMachine) -> FakeMachine:
    """The same host, contained, with a guest."""
    contain(on(bare), ContainRequest())
    bare.add_process(7, "earlyoom", cgroup="/system.slice/earlyoom.service", words=ARGUMENTS)
    bare.add_process(8, "qemu-system-x86", cgroup="/machine.slice/machine-qemu\\x2d1\\x2dcrab.scope/libvirt/emulator")
    bare.reporting = {"crab-1": True}
    return bare


def on(machine: FakeMachine, **settings: object) -> Host:
    return Host(Config.model_validate(settings), machine, BootstrapFiles(), RecordingProgress())


def row(machine: FakeMachine, name: str, **settings: object) -> Check:
    return next(check for check in check_host(on(machine, **settings)) if check.name == name)


def test_a_contained_host_is_ok_in_every_row(contained: FakeMachine) -> None:
    assert [check for check in check_host(on(contained)) if check.state is not CheckState.OK] == []


def test_a_bare_host_reads_as_it_was_agreed(bare: FakeMachine, golden: Callable[[str, str], None]) -> None:
    golden("host/check-bare.txt", checks_text(check_host(on(bare))) + "\n")


def test_a_contained_host_reads_as_it_was_agreed(contained: FakeMachine, golden: Callable[[str, str], None]) -> None:
    golden("host/check-contained.txt", checks_text(check_host(on(contained))) + "\n")


def test_looking_changes_nothing_and_needs_no_root(contained: FakeMachine) -> None:
    contained.root_user = False
    before, changes = contained.tree(), contained.changes
    checks = check_host(on(contained))
    assert (contained.tree(), contained.changes) == (before, changes)
    assert [check.name for check in checks] == [name for name, _, _ in ROWS]


def test_every_row_is_explained_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs/host.md").read_text()
    assert [name for name, _, _ in ROWS if f"`{name}`" not in text] == []


def test_every_row_that_warns_says_why_and_what_to_do(bare: FakeMachine) -> None:
    warned = [check for check in check_host(on(bare)) if check.state is CheckState.WARNING]
    assert {"machine.slice", "sshd", "libvirtd", "weights", "egress"} <= {check.name for check in warned}
    assert all(check.why.endswith(".") and check.fix for check in warned)


def no_cgroups(machine: FakeMachine) -> None:
    (machine.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    machine.put("/sys/fs/cgroup/unified/cgroup.procs", "")


def no_memory_controller(machine: FakeMachine) -> None:
    machine.put("/sys/fs/cgroup/cgroup.controllers", "cpu io pids\n")


def no_pressure(machine: FakeMachine) -> None:
    (machine.root / "proc/pressure/memory").unlink()


def live_limit(bytes_: str) -> Callable[[FakeMachine], None]:
    return lambda machine: machine.put("/sys/fs/cgroup/machine.slice/memory.max", f"{bytes_}\n")


def emulator(cgroup: str, adjust: int = 0) -> Callable[[FakeMachine], None]:
    return lambda machine: machine.add_process(9, "qemu-system-x86", cgroup=cgroup, adjust=adjust)


def agent(machine: FakeMachine) -> None:
    machine.add_process(9, "qemu-ga", cgroup="/system.slice/qemu-guest-agent.service")


def heavy_host(machine: FakeMachine) -> None:
    machine.put("/proc/meminfo", f"MemTotal: {64 << 20} kB\nMemAvailable: {55 << 20} kB\n")


def heavy_guests(machine: FakeMachine) -> None:
    heavy_host(machine)
    machine.put("/sys/fs/cgroup/machine.slice/memory.stat", f"anon {8 << 30}\nkernel {1 << 20}\n")


def swap(device: str) -> Callable[[FakeMachine], None]:
    return lambda machine: machine.put("/proc/swaps", SWAPS.format(device))


def swappable(device: str) -> Callable[[FakeMachine], None]:
    def spoil(machine: FakeMachine) -> None:
        swap(device)(machine)
        machine.put("/sys/fs/cgroup/machine.slice/memory.swap.max", "max\n")

    return spoil


def earlyoom(*words: str) -> Callable[[FakeMachine], None]:
    return lambda machine: machine.add_process(7, "earlyoom", cgroup="/", words=("/usr/bin/earlyoom", *words))


def swap_and(*words: str) -> Callable[[FakeMachine], None]:
    def spoil(machine: FakeMachine) -> None:
        swap("/swapfile")(machine)
        earlyoom(*words)(machine)

    return spoil


def unit(name: str, **properties: str) -> Callable[[FakeMachine], None]:
    def spoil(machine: FakeMachine) -> None:
        machine.systemd.units[name] = machine.systemd.units.get(name, {}) | properties

    return spoil


def gone(path: str) -> Callable[[FakeMachine], None]:
    return lambda machine: (machine.root / path[1:]).unlink()


def replaced(path: str, text: str) -> Callable[[FakeMachine], None]:
    return lambda machine: machine.put(path, text)


def adjusted(name: str) -> Callable[[FakeMachine], None]:
    return unit(name, OOMScoreAdjust="-1000")


def oomd(**properties: str) -> Callable[[FakeMachine], None]:
    def spoil(machine: FakeMachine) -> None:
        unit("systemd-oomd.service", ActiveState="active")(machine)
        unit("user.slice", **properties)(machine)

    return spoil


def docker(machine: FakeMachine) -> None:
    machine.install("/usr/bin/dockerd")


def docker_contained(machine: FakeMachine) -> None:
    docker(machine)
    contain(on(machine), ContainRequest(docker_max=Size.of_gib(4)))


def unloaded(machine: FakeMachine) -> None:
    machine.table = None


def guests(setting: str, state: str = "active") -> Callable[[FakeMachine], None]:
    def spoil(machine: FakeMachine) -> None:
        unit("libvirt-guests.service", LoadState="loaded", ActiveState=state, UnitFileState="disabled")(machine)
        machine.put("/usr/lib/libvirt/libvirt-guests.sh", 'ON_SHUTDOWN="suspend"\n    ON_SHUTDOWN="shutdown"\n')
        machine.put("/etc/default/libvirt-guests", setting)

    return spoil


def reports(**reporting: bool) -> Callable[[FakeMachine], None]:
    def spoil(machine: FakeMachine) -> None:
        machine.reporting = reporting

    return spoil


def no_libvirt(machine: FakeMachine) -> None:
    machine.reporting = None


OK, WARNING, UNKNOWN = CheckState


@pytest.mark.parametrize(
    ("spoil", "name", "state", "finding"),
    [
        (no_cgroups, "cgroups", WARNING, "version 1 (v2 beside it, without memory)"),
        (no_cgroups, "machine.slice", WARNING, "no limit: cgroup v1"),
        (no_cgroups, "sum", WARNING, "the clones are not limited, so there is no sum"),
        (no_memory_controller, "cgroups", WARNING, "version 2 without the memory controller"),
        (no_pressure, "pressure", WARNING, "not measured (no PSI)"),
        (live_limit("max"), "machine.slice", WARNING, "no limit"),
        (live_limit(str(54 << 30)), "machine.slice", OK, "at most 54 GiB of 64 GiB"),
        (live_limit(str(60 << 30)), "machine.slice", WARNING, "60 GiB of 64 GiB: more than the 54 GiB"),
        (live_limit(str(20 << 30)), "machine.slice", WARNING, "20 GiB of 64 GiB: less than the 54 GiB"),
        (emulator("/user.slice/a"), "emulators", WARNING, "1 of 2 outside of machine.slice, in /user.slice/a"),
        (agent, "emulators", OK, "1 under machine.slice"),
        (emulator("/machine.slice/m.scope", -500), "emulators", WARNING, "1 of 2 are spared by the kernel"),
        (heavy_host, "sum", WARNING, "all else 9 GiB now, 1 GiB left of 64 GiB: earlyoom would act"),
        (heavy_guests, "sum", OK, "clones at most 54 GiB, all else 1023 MiB now, 9 GiB left of 64 GiB"),
        (swap("/swapfile"), "swap", OK, "8 GiB, and none of it for clones"),
        (swappable("/swapfile"), "swap", WARNING, "8 GiB that clones can be pushed into"),
        (swappable("/dev/zram0"), "swap", OK, "8 GiB, compressed in memory"),
        (gone("/usr/bin/earlyoom"), "earlyoom", WARNING, "not installed"),
        (unit("earlyoom.service", ActiveState="failed"), "earlyoom", WARNING, "installed, and failed"),
        (unit("earlyoom.service", UnitFileState="disabled"), "earlyoom", WARNING, "runs, and would not after a boot"),
        (earlyoom("-m", "5,2", "--dryrun"), "earlyoom", WARNING, "runs, and only pretends (--dryrun)"),
        (earlyoom("-m5"), "earlyoom", OK, "acts below 5 % of available memory"),
        (earlyoom("-m", "3", "-M", "1048576"), "earlyoom", OK, "acts below 1 GiB or 3 % of available memory"),
        (swap_and("-m", "5"), "earlyoom", WARNING, "and not before swap is full as well"),
        (swap_and("-s", "10", "-s", "100,100"), "earlyoom", OK, "acts below 10 % of available memory"),
        (earlyoom("--avoid", "^sshd$"), "earlyoom avoids", WARNING, "does not spare libvirtd, virtqemud, systemd, "),
        (earlyoom(f"--avoid={AVOID}"), "earlyoom avoids", OK, "spares sshd, libvirt, systemd, tmux"),
        (earlyoom("--avoid", "("), "earlyoom avoids", UNKNOWN, "its --avoid is no regular expression"),
        (oomd(), "systemd-oomd", OK, "runs, and is set on no slice"),
        (oomd(ManagedOOMMemoryPressure="kill"), "systemd-oomd", WARNING, "may end groups below user.slice"),
        (oomd(ManagedOOMSwap="kill"), "systemd-oomd", WARNING, "may end groups below user.slice"),
        (adjusted("ssh.service"), "sshd", WARNING, "ssh.service is exempt by OOMScoreAdjust=-1000"),
        (adjusted("libvirtd.service"), "libvirtd", WARNING, "libvirtd.service is exempt by OOMScoreAdjust=-1000"),
        (gone(f"{UNITS}/ssh.service.d/50-moltfleet.conf"), "sshd", WARNING, "ssh.service has no protected memory"),
        (gone(f"{UNITS}/system.slice.d/50-moltfleet.conf"), "sshd", WARNING, "ssh.service has no protected memory"),
        (unit("libvirtd.service", LoadState="not-found"), "libvirtd", UNKNOWN, "neither libvirtd.service nor"),
        (unit("machine.slice", IOWeight="500"), "weights", WARNING, "no more than the clones (IOWeight)"),
        (docker, "docker", WARNING, "containers are outside of every limit"),
        (docker_contained, "docker", OK, "containers in docker.slice, limited"),
        (replaced("/sys/kernel/mm/ksm/run", "1\n"), "ksm", WARNING, "on"),
        (reports(a=True, b=False), "free pages", WARNING, "1 of 2 running domains keep them: b"),
        (reports(), "free pages", OK, "no domain runs"),
        (no_libvirt, "free pages", UNKNOWN, "libvirt is not running at qemu:///system"),
        (unloaded, "egress", WARNING, "the table is written and not loaded"),
        (gone("/etc/moltfleet/egress.nft"), "egress", WARNING, "no table; egress = 'internet' is only written down"),
        (replaced("/etc/moltfleet/egress.nft", "table inet x {}\n"), "egress", WARNING, "is not that of egress ="),
        (guests(""), "libvirt-guests", WARNING, "suspends guests at shutdown"),
        (guests("#ON_SHUTDOWN=shutdown\nON_SHUTDOWN='shutdown'\n"), "libvirt-guests", OK, "at shutdown: shutdown"),
        (guests("", "inactive"), "libvirt-guests", OK, "does not run: guests are cut off at shutdown"),
    ],
)  # fmt: skip
def test_a_row_tells_what_is_there(
    contained: FakeMachine, spoil: Callable[[FakeMachine], None], name: str, state: CheckState, finding: str
) -> None:
    spoil(contained)
    found = row(contained, name)
    assert found.state is state
    assert finding in found.finding


def test_another_egress_or_network_than_the_tables_is_noticed(contained: FakeMachine) -> None:
    assert row(contained, "egress", egress="none").finding == "/etc/moltfleet/egress.nft is not that of egress = 'none'"
    assert "the table does not cover it" in row(contained, "egress", network="default").finding


@pytest.mark.parametrize(("state", "expected"), [("active", OK), ("inactive", WARNING)])
def test_without_root_systemd_is_believed_about_the_table(
    contained: FakeMachine, state: str, expected: CheckState
) -> None:
    contained.root_user = False
    unit("moltfleet-egress.service", ActiveState=state)(contained)
    assert row(contained, "egress").state is expected


def test_a_host_without_systemd_says_so_in_every_row_that_asks_it(bare: FakeMachine) -> None:
    (bare.root / "run/systemd/system").rmdir()
    unknown = {check.name for check in check_host(on(bare)) if check.state is UNKNOWN}
    assert unknown == {
        "machine.slice",
        "sum",
        "earlyoom",
        "systemd-oomd",
        "sshd",
        "libvirtd",
        "weights",
        "libvirt-guests",
    }
    assert row(bare, "sshd").finding == "This host is not run by systemd"


def test_a_reserve_that_leaves_nothing_does_not_stop_the_other_rows(bare: FakeMachine) -> None:
    bare.total = Size.of_gib(8)
    assert "has 8 GiB of memory, and the reserve is 10 GiB" in row(bare, "machine.slice").finding
    assert row(bare, "cgroups").state is OK
