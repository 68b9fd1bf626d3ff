from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltfleet.adapters import hostinfo
from moltfleet.model.size import Size


def test_memory_is_what_the_kernel_says():
    measured = hostinfo.memory()
    assert 0 < measured.available.bytes <= measured.total.bytes
    assert measured.total.kib == int(Path("/proc/meminfo").read_text().split()[1])


def test_there_is_a_cpu():
    assert hostinfo.cpu_count() >= 1


@pytest.mark.parametrize(("flags", "expected"), [("fpu vmx sse", True), ("fpu svm", True), ("fpu vmx_not sse", False)])
def test_virtualization_is_read_from_the_flags(tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: vmx: a name\nflags\t\t: {flags}\n")
    assert hostinfo.has_hardware_virtualization(tmp_path) is expected


def test_a_cpu_without_flags_has_none(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : fp asimd\n")
    assert hostinfo.cpu_flags(tmp_path) == frozenset()


def test_the_boot_has_an_id():
    assert len(hostinfo.boot_id()) == 36


def test_the_machine_key_does_not_show_the_machine_id(tmp_path):
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    key = hostinfo.machine_key(tmp_path / "machine-id")
    assert len(key) == 16 and key not in "0123456789abcdef0123456789abcdef"
    assert hostinfo.machine_key(tmp_path / "missing") != key


def test_a_process_with_an_awkward_name_has_its_start(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (a) b) (c) S " + " ".join(str(number) for number in range(4, 53)))
    assert hostinfo.process_started_at(7, tmp_path) == 22


def test_a_process_that_is_gone_has_no_start():
    assert hostinfo.process_started_at(2**22 + 1) is None
    assert hostinfo.process_started_at(os.getpid()) is not None


def test_free_space_is_what_others_than_root_may_use(tmp_path):
    measured = os.statvfs(tmp_path)
    found = hostinfo.free_space(str(tmp_path))
    assert found is not None and found.bytes == pytest.approx(measured.f_bavail * measured.f_frsize, rel=0.01)
    assert hostinfo.free_space(str(tmp_path / "missing")) is None


def emulator(proc: Path, pid: int, name: str, *, comm: str = "qemu-system-x86", peak_kib: int = 2048) -> None:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "comm").write_text(f"{comm}\n")
    (directory / "cmdline").write_text(f"/usr/bin/{comm}\0-name\0guest={name},debug-threads=on\0-S\0")
    (directory / "status").write_text(f"Name:\t{comm}\nVmPeak:\t99999 kB\nVmHWM:\t   {peak_kib} kB\nVmRSS:\t 1 kB\n")


def test_the_peak_of_each_emulator_is_known_by_its_domain(tmp_path):
    (tmp_path / "self").mkdir()
    emulator(tmp_path, 1, "crab-1", peak_kib=4096)
    emulator(tmp_path, 2, "odd,,name")
    emulator(tmp_path, 3, "other", comm="bash")
    assert hostinfo.emulator_peaks(tmp_path) == {"crab-1": Size.of_mib(4), "odd,name": Size.of_mib(2)}


def test_a_name_of_two_emulators_says_nothing_about_either(tmp_path):
    emulator(tmp_path, 1, "crab-1", peak_kib=4096)
    emulator(tmp_path, 2, "crab-1")
    assert hostinfo.emulator_peaks(tmp_path) == {}


def test_a_process_that_ends_meanwhile_or_has_no_memory_is_left_out(tmp_path):
    emulator(tmp_path, 1, "crab-1")
    (tmp_path / "1/status").unlink()
    emulator(tmp_path, 2, "crab-2")
    (tmp_path / "2/status").write_text("Name:\tqemu-system-x86\nState:\tZ (zombie)\n")
    (tmp_path / "3").mkdir()
    assert hostinfo.emulator_peaks(tmp_path) == {}
