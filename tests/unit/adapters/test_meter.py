"""This machine's memory through the port: real figures, and reasons where the kernel has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.adapters import hostinfo
from moltfleet.adapters.meter import LocalMeter


def a_proc(directory: Path, pressure: str | None) -> Path:
    (directory / "sys/kernel/random").mkdir(parents=True)
    (directory / "sys/kernel/random/boot_id").write_text("boot-1\n")
    (directory / "uptime").write_text("100000.0 1.0\n")
    (directory / "vmstat").write_text("oom_kill 0\n")
    if pressure is not None:
        (directory / "pressure").mkdir()
        (directory / "pressure/memory").write_text(pressure)
    return directory


def test_this_machine_is_measured_with_origins(tmp_path: Path) -> None:
    load = LocalMeter(tmp_path).measure()
    assert load.available is not None and load.available <= load.total
    assert load.total == hostinfo.memory().total
    assert "MemAvailable" in load.available_origin
    assert load.pressure_origin and load.oom_origin
    assert not list(tmp_path.iterdir())


def test_pressure_is_the_share_of_the_last_minute(tmp_path: Path) -> None:
    proc = a_proc(tmp_path / "proc", "some avg10=9.00 avg60=3.25 avg300=1.00 total=5\nfull avg60=2.00 total=1\n")
    assert LocalMeter(tmp_path, proc=proc).measure().pressure == 3.25


@pytest.mark.parametrize(("content", "reason"), [(None, "has no PSI"), ("", "has no 'some avg60'")])
def test_a_kernel_without_pressure_figures_is_told_of(tmp_path: Path, content: str | None, reason: str) -> None:
    load = LocalMeter(tmp_path, proc=a_proc(tmp_path / "proc", content)).measure()
    assert load.pressure is None and reason in load.pressure_origin


def test_pressure_that_is_switched_off_names_the_switch(tmp_path: Path) -> None:
    proc = a_proc(tmp_path / "proc", None)
    # Reading a directory fails as reading switched-off PSI does: with an errno.
    (proc / "pressure/memory").mkdir(parents=True)
    pressure, reason = hostinfo.memory_pressure(proc)
    assert pressure is None and "psi=1" in reason


def test_a_state_directory_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    proc = a_proc(tmp_path / "proc", None)
    (proc / "vmstat").write_text("oom_kill 1\n")
    LocalMeter(tmp_path / "state", proc=proc).remember()
