"""Each command on a fleet in memory: what it makes of its words, its whole output and its exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Do = Callable[..., Any]


def squeezed(text: str) -> list[str]:
    """Lines with their columns' padding taken out."""
    return [re.sub(r" {2,}", " | ", line.strip()) for line in text.splitlines()]


def test_list_shows_clones_and_neither_goldens_nor_other_peoples_domains(do: Do) -> None:
    outcome = do("list")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert squeezed(outcome.stdout) == [
        "NAME | GOLDEN | STATE | LOGIN | MEMORY | VCPUS | DISK | MOLT | HEALTH",
        "base-1 | base g1 | running | agent@192.168.150.2 | 16 GiB | 4 | 400 MiB | cold | ok",
        "base-2 | base g1 | running | agent@192.168.150.3 | 16 GiB | 4 | 300 MiB | cold | ok",
        "base-3 | base g1 | shut off | agent@192.168.150.4 | 16 GiB | 4 | 300 MiB | cold | off",
    ]


def test_list_of_nothing_is_nothing_on_standard_output(do: Do, fleet: Any) -> None:
    fleet.forget_clones()
    outcome = do("list")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "There are no clones.\n")
    assert json.loads(do("list", "--json").stdout) == {
        "schema": "moltfleet.list/1",
        "clones": [],
        "last_night": None,
    }
    assert do("list", "-q").stderr == ""


def test_status_describes_the_named_clones(do: Do) -> None:
    outcome = do("status", "base-[13]")
    assert outcome.exit_code == 0
    assert [line for line in outcome.stdout.splitlines() if not line.startswith(" ")] == ["base-1", "base-3"]
    assert [c["name"] for c in json.loads(do("status", "--json").stdout)["clones"]] == ["base-1", "base-2", "base-3"]


@pytest.mark.parametrize("command", ["status", "start", "stop", "restart", "undo"])
def test_a_name_that_does_not_exist_is_exit_3_and_what_there_is_is_told(do: Do, command: str) -> None:
    outcome = do(command, "crab-9")
    assert outcome.exit_code == 3
    assert "No clone is named 'crab-9'\nHint: There are: base-1, base-2, base-3.\n" in outcome.stderr


def test_another_users_domain_is_no_clone(do: Do, fleet: Any) -> None:
    before = dict(fleet.hypervisor.known)
    outcome = do("delete", "theirs", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert fleet.hypervisor.known == before


def test_starting_what_runs_changes_nothing(do: Do) -> None:
    outcome = do("start", "base-1", "base-2", "--jobs", "1")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert squeezed(outcome.stdout) == [
        "CLONE | OUTCOME | SECONDS | DETAIL",
        "base-1 | unchanged | 0.0",
        "base-2 | unchanged | 0.0",
    ]


def test_stopping_all_at_once_cuts_power(do: Do) -> None:
    outcome = do("stop", "--all", "--now", "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout) == {
        "schema": "moltfleet.stop/1",
        "results": [
            {"clone": "base-1", "outcome": "stopped", "detail": "power cut", "seconds": 0.0, "error": None},
            {"clone": "base-2", "outcome": "stopped", "detail": "power cut", "seconds": 0.0, "error": None},
            {"clone": "base-3", "outcome": "unchanged", "detail": "was off", "seconds": 0.0, "error": None},
        ],
    }


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (("start", "--all"), "base-1: runs already\nbase-2: runs already\nbase-3: would be started\n"),
        (("stop", "base-2"), "stop base-2\n"),
        (("stop", "--now", "base-2"), "cut the power of base-2\n"),
        (("restart", "base-?", "--now"), "restart base-1\nrestart base-2\nrestart base-3\n"),
        (("undo", "base-1"), "swap the shed layer of base-1 back and boot it\n"),
        (("exec", "base-*", "--", "ls", "a b"), "base-1: ls 'a b'\nbase-2: ls 'a b'\nbase-3: ls 'a b'\n"),
        (("copy", "x", "base-1:y"), "copy x to base-1:y\n"),
    ],
)
@pytest.mark.parametrize("where", ["before", "after", "variable"])
def test_a_dry_run_tells_and_changes_nothing(do: Do, fleet: Any, args: tuple[str, ...], lines: str, where: str) -> None:
    before = dict(fleet.hypervisor.known), dict(fleet.storage.known)
    if where == "variable":
        outcome = do(*args, environment={"MOLTFLEET_DRY_RUN": "1"})
    else:
        outcome = do("--dry-run", *args) if where == "before" else do(args[0], "--dry-run", *args[1:])
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, lines, "")
    assert (fleet.hypervisor.known, fleet.storage.known) == before
    assert fleet.locks.held == []
    assert fleet.guests.copied == []


def test_a_dry_run_is_json_too(do: Do) -> None:
    assert json.loads(do("start", "base-1", "--dry-run", "--json").stdout) == {
        "schema": "moltfleet.dry-run/1",
        "lines": ["base-1: runs already"],
    }


def test_delete_takes_a_clone_and_only_its_own_volumes(do: Do, fleet: Any) -> None:
    outcome = do("delete", "base-1", "--yes", "--json")
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["results"][0]["outcome"] == "deleted"
    assert sorted(fleet.hypervisor.known) == ["base", "base-2", "base-3", "lean", "theirs"]
    assert not [name for name in fleet.storage.known if name.startswith("base-1")]
    assert "base.g1.qcow2" in fleet.storage.known


@pytest.mark.parametrize(
    ("args", "gone"),
    [
        (("delete", "base-2"), ["base-2"]),
        (("delete", "--all"), ["base-1", "base-2", "base-3"]),
        (("cleanup", "base"), ["base-1", "base-2", "base-3"]),
        (("golden", "delete", "lean"), ["lean"]),
    ],
)
def test_a_person_is_shown_what_goes_and_asked(do: Do, fleet: Any, args: tuple[str, ...], gone: list[str]) -> None:
    before = set(fleet.hypervisor.known)
    refused = do(*args, interactive=True, input="n\n")
    assert refused.exit_code == 1
    assert refused.stderr.endswith("Error: Nothing was changed\n")
    for name in gone:
        assert f"{name}: would delete" in refused.stderr
    assert set(fleet.hypervisor.known) == before
    agreed = do(*args, interactive=True, input="y\n")
    assert agreed.exit_code == 0
    assert sorted(before - set(fleet.hypervisor.known)) == gone


def test_the_end_of_input_at_the_question_is_an_interruption(do: Do, fleet: Any) -> None:
    outcome = do("delete", "base-1", interactive=True, input="")
    assert outcome.exit_code == 130
    assert "Error: Interrupted\n" in outcome.stderr
    assert "base-1" in fleet.hypervisor.known


def test_yes_can_be_said_by_a_variable(do: Do, fleet: Any) -> None:
    assert do("delete", "base-1", environment={"MOLTFLEET_YES": "1"}).exit_code == 0
    assert "base-1" not in fleet.hypervisor.known


def test_cleanup_of_a_golden_without_clones_deletes_nothing(do: Do, fleet: Any) -> None:
    before = dict(fleet.hypervisor.known)
    outcome = do("cleanup", "lean", "--yes")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "Golden 'lean' has no clones.\n")
    assert fleet.hypervisor.known == before


def test_cleanup_of_no_golden_is_exit_3(do: Do) -> None:
    outcome = do("cleanup", "none", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert outcome.stderr == "Error: No golden is named 'none'\nHint: There are: base, lean.\n"


def test_a_molt_that_somebodys_snapshot_stops_is_exit_4_with_the_way_out(do: Do, fleet: Any) -> None:
    fleet.hypervisor.snapshots["base-2"] = ("mine",)
    outcome = do("molt", "base-2", "--yes")
    assert outcome.exit_code == 4
    assert outcome.stderr.endswith("Hint: --discard-snapshots drops them.\n")
    assert squeezed(outcome.stdout)[1].startswith("base-2 | failed | warm")


def test_a_molts_plan_is_shown_before_it_is_asked_for(do: Do, fleet: Any) -> None:
    outcome = do("molt", "base-1", "--keep=before", interactive=True, input="n\n")
    assert outcome.exit_code == 1
    assert "base-1: cold" in outcome.stderr
    assert "base-1.1.qcow2 would be kept" in outcome.stderr
    assert fleet.locks.held == []


def test_keep_without_a_label_may_stand_last(do: Do) -> None:
    assert "would be kept" in do("molt", "base-1", "--dry-run", "--keep").stdout
    assert "would stay for undo" in do("molt", "base-1", "--dry-run").stdout


def test_undo_without_a_shed_layer_is_exit_4(do: Do) -> None:
    outcome = do("undo", "base-2", "--json")
    assert outcome.exit_code == 4
    result = json.loads(outcome.stdout)["results"][0]
    assert (result["clone"], result["outcome"], result["error"]["code"]) == ("base-2", "failed", "wrong-state")


def test_create_dry_run_fills_in_the_defaults(do: Do) -> None:
    outcome = do("create", "base", "-n", "2", "--memory", "8G", "--dry-run")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert [line.split(":")[0] for line in outcome.stdout.splitlines()] == ["base-4", "base-5"]
    assert "8 GiB" in outcome.stdout


def test_create_without_a_golden_takes_the_configured_one(do: Do, tmp_path: Path) -> None:
    config = tmp_path / "m.toml"
    config.write_text("defaults.golden = 'lean'\n")
    outcome = do("--config", str(config), "create", "--dry-run")
    assert (outcome.exit_code, outcome.stdout.split(":")[0]) == (0, "lean-1")


@pytest.mark.parametrize(
    ("args", "code", "brief"),
    [
        (("none",), 3, "No golden is named 'none'"),
        (("base", "base-1"), 4, "Name 'base-1' is taken by a clone"),
        (("base", "theirs"), 4, "Name 'theirs' is taken by a domain that is not ours"),
        (("base", "a<b"), 2, "Name 'a<b' is not a host name"),
        (("base", "--memory", "128G"), 5, "Memory of 128 GiB is more than the host has"),
        (("base", "--disk", "512M"), 2, "Disk of 512 MiB is smaller than the golden's 1 GiB"),
    ],
)
def test_create_refuses_what_cannot_work_and_makes_nothing(
    do: Do, fleet: Any, args: tuple[str, ...], code: int, brief: str
) -> None:
    before = dict(fleet.hypervisor.known), dict(fleet.storage.known)
    outcome = do("create", *args)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert outcome.stderr.startswith(f"Error: {brief}")
    assert (fleet.hypervisor.known, fleet.storage.known) == before


def test_a_private_key_is_not_let_in(do: Do, tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    outcome = do("create", "base", "--user-key", str(key), "--dry-run")
    assert outcome.exit_code == 2
    assert outcome.stderr == f"Error: File '{key}' is a private key\nHint: Name the public one, which ends in .pub.\n"


def test_goldens_are_listed_and_shown(do: Do) -> None:
    listed = squeezed(do("golden", "list").stdout)
    assert listed[1] == "base | g1 | minimal | 200 MiB | 3 | 2026-11-20T08:00:00Z | debian-12"
    assert listed[2] == "lean | g1 | minimal | 200 MiB | 0 | 2026-11-20T08:00:00Z | debian-12"
    document = json.loads(do("golden", "show", "base", "--json").stdout)
    assert document["golden"]["clones"] == ["base-1", "base-2", "base-3"]
    assert document["manifest"]["kernel"] == "6.1.0"
    assert "clones | base-1, base-2, base-3" in squeezed(do("golden", "show", "base").stdout)


def test_a_golden_in_use_is_not_deleted_and_its_clones_are_named(do: Do, fleet: Any) -> None:
    outcome = do("golden", "delete", "base", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert "base-1, base-2, base-3" in outcome.stderr
    assert "base" in fleet.hypervisor.known


def test_deleting_a_golden_says_so(do: Do, fleet: Any) -> None:
    outcome = do("golden", "delete", "lean", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (0, "Deleted golden lean.\n")
    assert "lean" not in fleet.hypervisor.known


def test_exec_in_one_clone_passes_output_and_status_through(do: Do) -> None:
    outcome = do("exec", "base-1", "--", "echo", "a b", "--json")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (7, "echo 'a b' --json on base-1\n", "noise\n")


def test_exec_in_several_clones_prefixes_lines_and_names_what_failed(do: Do) -> None:
    outcome = do("exec", "base-*", "--jobs", "1", "--", "true")
    assert outcome.stdout == "base-1: true on base-1\nbase-2: true on base-2\n"
    assert outcome.stderr == (
        "base-1: noise\nbase-2: noise\nError: Clone 'base-3' is not running\nHint: Start it: moltfleet start base-3\n"
    )
    assert outcome.exit_code == 1


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("false", 7), ("number", 1)])
def test_the_status_that_several_clones_share_is_the_exit_code_else_1(do: Do, command: str, code: int) -> None:
    assert do("exec", "base-1", "base-2", "--", command).exit_code == code


def test_exec_as_json_has_each_clones_output(do: Do) -> None:
    outcome = do("--json", "exec", "base-1", "base-3", "--jobs", "1", "--", "true")
    assert outcome.exit_code == 1
    first, second = json.loads(outcome.stdout)["results"]
    assert (first["exit_status"], first["stdout"], first["stderr"]) == (0, "true on base-1\n", "noise\n")
    assert (second["exit_status"], second["error"]["code"]) == (None, "wrong-state")


def test_exec_without_a_command_is_a_usage_error(do: Do) -> None:
    outcome = do("exec", "base-1")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("Error: No command is given; it comes after --\n")


def test_exec_takes_a_deadline(do: Do) -> None:
    outcome = do("exec", "base-1", "--timeout", "30", "--", "true")
    assert outcome.exit_code == 7
    assert "timeout -k 5" in outcome.stdout and outcome.stdout.endswith(" 30 true on base-1\n")
    assert do("exec", "base-1", "--timeout", "0", "--", "true").exit_code == 2


@pytest.mark.parametrize(
    ("args", "copied"),
    [
        (("notes.md", "base-1:work/"), ("put", "notes.md", "work/")),
        (("base-2:work", "."), ("get", "work", ".")),
    ],
)
def test_copy_goes_both_ways(do: Do, fleet: Any, args: tuple[str, str], copied: tuple[str, str, str]) -> None:
    outcome = do("-q", "copy", *args)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    assert fleet.guests.copied == [copied]


def test_copy_needs_exactly_one_side_in_a_clone(do: Do) -> None:
    outcome = do("copy", "a", "b")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: One side of a copy")


def test_ssh_hands_the_terminal_to_the_openssh_client(do: Do) -> None:
    calls: list[tuple[list[str], list[str]]] = []

    def open_ssh(config: object, arguments: Any, known: Any) -> int:
        calls.append((list(arguments), [endpoint.name for endpoint in known]))
        return 42

    outcome = do("ssh", "base-1", "--", "tmux", "attach", open_ssh=open_ssh)
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (42, "", "")
    [(arguments, known)] = calls
    assert arguments[0] == "ssh"
    assert arguments[-2:] == ["192.168.150.2", "tmux attach"]
    assert known == ["base-1", "base-2", "base-3"]


def test_ssh_into_a_stopped_clone_says_how_to_start_it(do: Do) -> None:
    outcome = do("ssh", "base-3")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert outcome.stderr == "Error: Clone 'base-3' is not running\nHint: Start it: moltfleet start base-3\n"


def test_the_uri_reaches_the_fleet(do: Do, fleet: Any) -> None:
    do("-c", "qemu:///session", "list")
    config, uri = fleet.seen[0]
    assert (uri, config.uri, config.network) == ("qemu:///session", "qemu:///session", "user")
