"""moltguest.settings: the guest's one configuration file; whatever is wrong in it is one line, and never an end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltguest.settings import LARGEST, PATH, Settings, parse, read


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / PATH
    path.parent.mkdir(parents=True)
    return path


def test_every_key_is_understood() -> None:
    text = """
    # A comment
    WATCHDOG_WARN_MB=6000
    WATCHDOG_KILL_MB = "9000"
    SCOPE_MAX_MB='4096'
    BASE_MB=400
    SHM_MB=1024
    TMP_MB=2048
    AGENTS=claude, codex aider
    AGENT_PATHS=/opt/agent/bin/* /srv/one
    """
    settings, problems = parse(text)

    assert problems == ()
    assert settings == Settings(
        warn_mib=6000,
        kill_mib=9000,
        scope_mib=4096,
        base_mib=400,
        shm_mib=1024,
        tmp_mib=2048,
        agents=("claude", "codex", "aider"),
        agent_paths=("/opt/agent/bin/*", "/srv/one"),
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("WATCHDOG_KILL_MB=abc", "f:1: WATCHDOG_KILL_MB: 'abc' is not a number of MiB from 16 to 16777216"),
        ("WATCHDOG_KILL_MB=-1", "f:1: WATCHDOG_KILL_MB: '-1' is not a number of MiB from 16 to 16777216"),
        ("WATCHDOG_KILL_MB=", "f:1: WATCHDOG_KILL_MB: '' is not a number of MiB from 16 to 16777216"),
        ("WATCHDOG_KILL_MB=0", "f:1: WATCHDOG_KILL_MB: '0' is not a number of MiB from 16 to 16777216"),
        ("WATCHDOG_KILL_MB=٣٣٣", "f:1: WATCHDOG_KILL_MB: '٣٣٣' is not a number of MiB from 16 to 16777216"),
        (f"BASE_MB={'9' * 5000}", f"f:1: BASE_MB: '{'9' * 37}...' is not a number of MiB from 16 to 16777216"),
        ("WATCHDOG_KIL_MB=9", "f:1: 'WATCHDOG_KIL_MB' is not a known KEY=VALUE"),
        ("just words", "f:1: 'just words' is not a known KEY=VALUE"),
        ("\x1b[31m=1", "f:1: '\\x1b[31m' is not a known KEY=VALUE"),
        ("AGENTS=/usr/bin/claude", "f:1: AGENTS: '/usr/bin/claude' is not a list of names"),
        ("AGENT_PATHS=bin/x", "f:1: AGENT_PATHS: 'bin/x' is not a list of absolute paths"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_default_stays(line: str, problem: str) -> None:
    settings, problems = parse(line, "f")

    assert settings == Settings()
    assert len(problems) == 1 and problems[0].startswith(problem)
    assert "\n" not in problems[0] and problems[0].isprintable()


def test_a_bad_line_leaves_the_good_ones() -> None:
    settings, problems = parse("WATCHDOG_KILL_MB=x\nWATCHDOG_WARN_MB=100\n")
    assert settings.warn_mib == 100 and len(problems) == 1


def test_a_key_given_twice_is_told_and_the_last_one_counts() -> None:
    settings, problems = parse("BASE_MB=100\nBASE_MB=200", "f")

    assert settings.base_mib == 200
    assert problems == ("f:2: BASE_MB stands in line 1 already; this line counts",)


def test_no_file_is_no_problem(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == (Settings(), ())


def test_a_file_is_read_below_the_root(conf: Path, tmp_path: Path) -> None:
    conf.write_text("BASE_MB=300\nX=1\n")

    settings, problems = read(str(tmp_path))

    assert settings.base_mib == 300
    assert problems == (f"{conf}:2: 'X' is not a known KEY=VALUE; the line is left out",)


def test_a_directory_in_its_place_is_a_line(conf: Path, tmp_path: Path) -> None:
    conf.mkdir()
    assert read(str(tmp_path)) == (Settings(), (f"{conf}: Is a directory; the defaults stay",))


@pytest.mark.parametrize(
    ("content", "problem"), [(b"\xff\xfe\x00", "not text in UTF-8"), (b"#" * (LARGEST + 1), "larger than 64 KiB")]
)
def test_what_is_no_configuration_is_a_line(conf: Path, tmp_path: Path, content: bytes, problem: str) -> None:
    conf.write_bytes(content)

    settings, problems = read(str(tmp_path))

    assert settings == Settings() and problems == (f"{conf}: {problem}; the defaults stay",)


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_no_text_ends_it(text: str) -> None:
    _, problems = parse(text)
    assert all(problem.isprintable() for problem in problems)
