"""The rooms and their one way (DESIGN §3), read from the imports of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import moltfleet

PACKAGE = Path(moltfleet.__file__).parent
STANDARD_ONLY = "model"

# Room: what it may import of ours, beside itself.
MAY_IMPORT = {
    "cli": {"model", "operations", "adapters", "config", "progress", ""},
    "operations": {"model", ""},
    "model": set[str](),
    "adapters": {"model", ""},
    "config": {"model", "tables"},
    "tables": {"model"},
    "progress": {"model"},
    "__main__": {"cli"},
    "": set[str](),
}
# Library: the only place that may import it, as a prefix of the module's path.
SINGLE_IMPORTERS = {
    "libvirt": "adapters/libvirt/",
    "paramiko": "adapters/ssh/",
    "psutil": "adapters/hostinfo.py",
    "subprocess": "adapters/run.py",
    "click": "cli/",
    "tabulate": "cli/tables.py",
    "rich": "progress.py",
    "matplotlib": "cli/report/drawing.py",
    "prometheus_client": "adapters/textfile.py",
}
WORN_OUT = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement. ``for_types`` stands below TYPE_CHECKING and never runs."""

    target: str
    line: int
    for_types: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package; ``path`` is relative to it."""

    path: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def room(self) -> str:
        first = self.path.split("/")[0].removesuffix(".py")
        return "" if first == "__init__" else first


@cache
def modules() -> tuple[Module, ...]:
    return tuple(read(path) for path in sorted(PACKAGE.rglob("*.py")) if "data" not in path.relative_to(PACKAGE).parts)


def read(path: Path) -> Module:
    tree = ast.parse(path.read_text())
    return Module(str(path.relative_to(PACKAGE)), tree, tuple(imports_of(tree)))


def imports_of(tree: ast.Module) -> Iterator[Import]:
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (Import(name, node.lineno, id(node) in guarded) for name in names)


def room_of(target: str) -> str | None:
    """The room of one of our modules, None for a foreign one."""
    parts = target.split(".")
    if parts[0] != "moltfleet":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else ""


def violations(module: Module) -> list[str]:
    allowed = MAY_IMPORT[module.room] | {module.room}
    wrong = []
    for found in module.imports:
        room = room_of(found.target)
        # Fleet carries the Config, of which operations only need the type.
        if room is None or room in allowed or (found.for_types and room == "config"):
            continue
        wrong.append(f"{module.path}:{found.line} imports {found.target}")
    return wrong


def test_every_room_has_a_rule() -> None:
    assert {module.room for module in modules()} <= set(MAY_IMPORT)


def test_imports_go_one_way() -> None:
    assert [line for module in modules() for line in violations(module)] == []


def test_only_the_wirings_join_operations_to_adapters() -> None:
    joined = [m.path for m in modules() if m.room == "cli" and any(room_of(i.target) == "adapters" for i in m.imports)]
    assert joined == [
        "cli/wiring.py",
        "cli/wiring_access.py",
        "cli/wiring_adopt.py",
        "cli/wiring_host.py",
        "cli/wiring_schedule.py",
    ]


def test_the_rule_would_notice_an_edge_that_goes_the_wrong_way() -> None:
    tree = ast.parse("from moltfleet.adapters.run import run\nimport moltfleet.cli")
    assert len(violations(Module("operations/create.py", tree, tuple(imports_of(tree))))) == 2


@pytest.mark.parametrize("library", sorted(SINGLE_IMPORTERS))
def test_a_library_is_imported_in_one_place(library: str) -> None:
    home = SINGLE_IMPORTERS[library]
    elsewhere = [
        f"{module.path}:{found.line}"
        for module in modules()
        for found in module.imports
        if found.target.split(".")[0] == library and not module.path.startswith(home)
    ]
    assert elsewhere == []


def test_the_model_imports_nothing_but_the_standard_library() -> None:
    import sys

    foreign = [
        f"{module.path}: {found.target}"
        for module in modules()
        if module.room == STANDARD_ONLY
        for found in module.imports
        if found.target.split(".")[0] not in sys.stdlib_module_names | {"moltfleet", "__future__"}
    ]
    assert foreign == []


def test_no_module_has_a_worn_out_name() -> None:
    names = {part.removesuffix(".py") for module in modules() for part in module.path.split("/")}
    worn = {name for name in names if WORN_OUT & set(name.split("_"))}
    assert worn == set()


def test_every_module_opens_with_one_sentence() -> None:
    silent = [m.path for m in modules() if not (ast.get_docstring(m.tree) or "").strip()]
    assert silent == []


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {module.path: len((PACKAGE / module.path).read_text().splitlines()) for module in modules()}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def forbidden(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What may not stand below cli: print, sys.exit, and handlers that catch everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit", "exit", "os._exit"):
            yield node.lineno, ast.unparse(node.func)
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc):
            yield node.lineno, "SystemExit"
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception"):
            yield node.lineno, "except Exception"


def test_below_cli_nothing_prints_exits_or_catches_everything() -> None:
    found = [
        f"{module.path}:{line} {what}"
        for module in modules()
        if module.room not in ("cli", "__main__")
        for line, what in forbidden(module.tree)
    ]
    assert found == []


def test_the_check_for_forbidden_statements_sees_each_of_them() -> None:
    text = "try:\n print(1)\nexcept Exception:\n sys.exit(1)\ntry: pass\nexcept:\n raise SystemExit(2)\n"
    assert [what for _, what in sorted(forbidden(ast.parse(text)))] == [
        "print",
        "except Exception",
        "sys.exit",
        "except Exception",
        "SystemExit",
    ]
