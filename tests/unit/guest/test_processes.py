"""moltguest.watchdog.processes: what /proc says, whatever the names in it hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.guesttree import GuestTree
from moltguest.watchdog.processes import Process, Processes, descendants, first_operand, parse_stat

REST = b" S 7 9 9 34817 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"


@settings(deadline=None)
@given(st.binary(min_size=0, max_size=200))
def test_any_name_is_read_as_one(name: bytes) -> None:
    process = parse_stat(b"42 (" + name + b")" + REST)

    assert (process.pid, process.start, process.parent, process.terminal, process.state) == (42, 4711, 7, 34817, "S")
    assert process.comm.encode("utf-8", "surrogateescape") == name


@pytest.mark.parametrize("line", [b"", b"42", b"42 (x) S 1", b"x (y)" + REST, b")" + REST + b"("])
def test_what_is_no_such_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_stat(line)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_other_bytes_are_a_process_or_refused(line: bytes) -> None:
    try:
        parse_stat(line)
    except ValueError:
        return


def test_the_kernels_own_processes_are_left_out(tree: GuestTree) -> None:
    tree.process(2, None, parent=0, comm="kthreadd")
    tree.process(20, None, parent=2, comm="kworker/0:1")
    tree.process(30, "/usr/bin/vim")

    assert set(Processes(str(tree.root)).scan()) == {1, 30}


def test_a_process_that_ends_while_it_is_looked_at_is_none(tree: GuestTree) -> None:
    processes = Processes(str(tree.root))
    (tree.root / "proc/77").mkdir()

    assert processes.find(77) is None
    assert processes.executable(77) is None
    assert (processes.most(77), processes.share(77), processes.owner(77)) == (0, None, -1)
    assert (processes.cgroup(77), processes.script(77)) == ("", None)


def test_the_unified_hierarchy_is_the_one_that_counts(tree: GuestTree) -> None:
    tree.process(30, "/usr/bin/vim")
    tree.write("proc/30/cgroup", "4:memory:/other\n0::/agents.slice/a:b.scope\n")

    assert Processes(str(tree.root)).cgroup(30) == "/agents.slice/a:b.scope"


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (["cli.js", "claude"], "cli.js"),
        (["--max-old-space-size=512", "cli.js"], "cli.js"),
        (["-r", "./hook.js", "cli.js"], "cli.js"),
        (["--require", "./hook.js"], None),
        (["-e", "cli.js"], None),
        (["--print", "cli.js"], None),
        (["run", "cli.ts"], "cli.ts"),
        ([], None),
        ([""], ""),
    ],
)
def test_the_script_is_the_first_word_that_is_no_option(words: list[str], script: str | None) -> None:
    assert first_operand(words) == script


def test_a_script_is_a_file_with_its_links_resolved(tree: GuestTree) -> None:
    tree.write("usr/lib/node_modules/x/cli.js", "")
    (tree.root / "usr/bin").mkdir(parents=True)
    (tree.root / "usr/bin/x").symlink_to("../lib/node_modules/x/cli.js")
    for pid, argv in ((30, ("/usr/bin/x",)), (31, ("cli.js",)), (32, ("/usr/bin/none",)), (33, ("x\udcff",))):
        tree.process(pid, "/usr/bin/node", argv=argv, cwd=str(tree.root / "usr/lib/node_modules/x"))
    processes = Processes(str(tree.root))

    assert processes.script(30) == "/usr/lib/node_modules/x/cli.js"
    assert processes.script(32) is None
    assert processes.script(33) is None


def test_what_is_shared_is_told_where_the_kernel_tells_it(tree: GuestTree) -> None:
    processes = Processes(str(tree.root))
    tree.process(30, "/usr/bin/vim", memory=10, shmem=5, share=9)
    assert (processes.most(30), processes.share(30)) == (15 << 20, 9 << 20)

    tree.write("proc/30/smaps_rollup", "ffff [rollup]\nPss: 2048 kB\n")
    assert processes.share(30) == 2 << 20
    tree.write("proc/30/smaps_rollup", "")
    assert processes.share(30) is None


def test_memory_is_found_behind_any_name_and_any_number_of_groups(tree: GuestTree) -> None:
    tree.process(30)
    # As the kernel writes it: a newline in a name is two characters.
    groups = " ".join(map(str, range(5000)))
    status = f"Name:\tx\\nRssAnon:\t7 kB\nUid:\t1\t2\t3\t4\nGroups:\t{groups}\nRssAnon:\t 2048 kB\nVmSwap:\t 1024 kB\n"
    tree.write("proc/30/status", status)
    processes = Processes(str(tree.root))

    assert (processes.most(30), processes.owner(30)) == (3 << 20, 2)
    tree.write("proc/30/status", "Name:\tkworker\n")
    assert (processes.most(30), processes.owner(30)) == (0, -1)


def test_a_loop_of_parents_ends() -> None:
    one, two = Process(1, 1, 2, 0, "S", "a"), Process(2, 2, 1, 0, "S", "b")

    assert descendants([one], {1: [two], 2: [one]}, lambda _: True) == [one, two]
    assert descendants([one], {1: [two], 2: [one]}, lambda process: process.pid == 2) == []
