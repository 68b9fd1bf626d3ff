"""The project's face keeps its word: README's commands exist, links lead somewhere, CONTRIBUTING knows every room."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moltfleet.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cloud-init/*.md")])
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ROOMS = ("cli", "operations", "model", "adapters", "adapters/libvirt", "adapters/ssh")


def fenced(text: str) -> str:
    """What stands between fences, block after block."""
    return "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The command lines of fenced blocks that call moltfleet, with or without a prompt."""
    return re.findall(r"^(?:\$ )?(?:sudo )?(moltfleet .*?)(?:  .*)?$", fenced(text), re.MULTILINE)


def find_problem(line: str) -> str | None:
    """What in a command line the program would not know: a command, or an option of it."""
    words = shlex.split(line)[1:]
    for end in ("|", "--"):
        words = words[: words.index(end)] if end in words else words
    command: click.Command = app
    context = click.Context(app)
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            options = known_options(command)
            if name not in options:
                return f"{line}: no option {word}"
            if not value and options[name]:
                next(rest, None)
        elif isinstance(command, click.Group):
            found = command.get_command(context, word) or default_command(command)
            if found is None:
                return f"{line}: no command {word}"
            command = found
    return None


def default_command(group: click.Group) -> click.Command | None:
    """What a group takes a word for that is none of its commands."""
    return group.commands["take"] if group.name == "rescue" else None


def known_options(command: click.Command) -> dict[str, bool]:
    """Every option of a command, and whether it always takes the next word."""
    options = {"-h": False, "--help": False}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            takes = not (parameter.is_flag or parameter.count or getattr(parameter, "_flag_needs_value", False))
            options |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), takes)
    return options


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", without_fences(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", without_fences(page.read_text()))


def test_the_readme_has_commands_to_check() -> None:
    assert len(commands(README)) >= 8


@pytest.mark.parametrize("line", commands(README))
def test_a_command_of_the_readme_exists(line: str) -> None:
    assert find_problem(line) is None


def inline(text: str) -> list[str]:
    """The command lines of inline code that call moltfleet, whatever libvirt they name first."""
    return re.findall(r"`(?:sudo )?(moltfleet [a-z-][^`…]*)`", without_fences(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    assert [problem for line in commands(text) + inline(text) if (problem := find_problem(line))] == []


def messages() -> list[str]:
    """What stands as a message over a section of docs/troubleshooting.md."""
    return re.findall(r"^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)


def spoken() -> str:
    """The text of the program and of the guest tools, without what stands for a value and where lines were broken."""
    sources = [*(ROOT / "moltfleet").rglob("*.py"), *(ROOT / "bootstrap/guest/moltguest").rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_the_messages_that_are_explained_are_those_that_the_program_says() -> None:
    said = spoken()
    assert len(messages()) > 15
    parts = [part.strip(" ,():") for message in messages() for part in message.split("…")]
    unknown = [part for part in parts if len(part) > 3 and part.removesuffix("of somebody's") not in said]
    assert unknown == []


@pytest.mark.parametrize("line", ["moltfleet hatch x", "moltfleet molt x --lukewarm", "moltfleet golden bake x"])
def test_a_command_that_does_not_exist_is_found_out(line: str) -> None:
    assert find_problem(line) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"(https?|mailto):", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("script", sorted(set(re.findall(r"\bscripts/[a-z-]+", README + CONTRIBUTING))))
def test_a_script_that_is_spoken_of_is_there(script: str) -> None:
    assert (ROOT / script).exists()


@pytest.mark.parametrize("room", ROOMS)
def test_contributing_knows_each_room(room: str) -> None:
    assert f"| `moltfleet/{room}/` |" in CONTRIBUTING


def test_contributing_knows_each_module_and_no_other() -> None:
    package = ROOT / "moltfleet"
    paths = {str(path.relative_to(package)).removesuffix("__init__.py") for path in package.rglob("*.py")}
    table = CONTRIBUTING.partition("### Modules")[2]
    told = set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))
    assert told == {path or "moltfleet/" for path in paths}, "run scripts/gen-docs"


def test_every_design_record_is_listed() -> None:
    records = {path.name for path in (ROOT / "docs/adr").glob("0*.md")}
    assert records == set(links(ROOT / "docs/adr/README.md"))


def test_no_design_record_is_longer_than_a_page() -> None:
    long = [path.name for path in (ROOT / "docs/adr").glob("0*.md") if len(path.read_text().splitlines()) > 60]
    assert long == []


@pytest.mark.parametrize("program", [".ci/run", "scripts/test", "scripts/quickstart", "scripts/lab"])
def test_a_program_can_be_run(program: str) -> None:
    path = ROOT / program
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!")
