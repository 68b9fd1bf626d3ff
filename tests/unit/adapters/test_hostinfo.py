from __future__ import annotations

import os
from pathlib import Path

import pytest

from moltfleet.adapters import hostinfo


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
