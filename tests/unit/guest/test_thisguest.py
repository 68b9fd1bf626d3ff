"""moltguest.thisguest: what moltfleet-limits says of a guest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moltguest.limits import MIB, derive
from moltguest.settings import KEYS
from moltguest.thisguest import look, main, table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in (("proc/meminfo", "MemTotal:  8187000 kB\n"), ("etc/moltfleet/guest.conf", "BASE_MB=x\n")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def test_a_guest_is_looked_at_below_a_root(root: Path) -> None:
    guest = look(str(root))

    assert guest.limits.total == 8187000 * 1024
    assert len(guest.problems) == 1


def test_the_table_is_for_a_person(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(root)]) == 0

    said = capsys.readouterr()
    assert said.out == (
        "MiB                   warn     end    slow    most\n"
        "an agent's scope      3233    4797    5215    5490\n"
        "all agents            3804    5645    6136    6459\n"
        "outside a scope       3804    5645    6136    6459\n"
        "memory 7995, kept from agents 1536, containers 2798\n"
        "/dev/shm 959, /tmp 959 where it is in memory\n"
    )
    assert "BASE_MB: 'x' is not a number" in said.err


def test_the_document_and_the_assignments_agree(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--root", str(root), "--json"])
    document = json.loads(capsys.readouterr().out)
    main(["--root", str(root), "--shell"])
    lines = dict(line.split("=") for line in capsys.readouterr().out.splitlines())

    assert document["schema"] == "moltfleet.limits/1"
    assert int(lines["SCOPE_MAX"]) == document["scope"]["max"]
    assert int(lines["CEILING"]) == document["ceiling"] == document["total"] - document["reserve"]
    assert lines["CONTAINED"] == "1" and document["contained"] is True


def test_another_guests_limits_can_be_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(root), "--total-mib", "1000"]) == 0
    assert "only the watchdog acts" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--yaml"], ["--root"], ["--total-mib", "x"]])
def test_a_bad_command_line_is_told_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: moltfleet-limits")


def test_a_guest_without_proc_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_on_guests_shows_what_the_program_says() -> None:
    page = (Path(__file__).parents[3] / "docs/guest.md").read_text()
    _, _, block = page.partition("$ moltfleet-limits --total-mib 7995\n")

    assert block.partition("```")[0] == table(derive(7995 * MIB))


def test_the_page_on_guests_knows_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs/guest.md").read_text()
    assert [key for key in KEYS if f"`{key}`" not in page] == []
