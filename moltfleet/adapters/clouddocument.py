"""What kind of user-data a document is, checked before a guest ever sees it; refuses what could not be merged.

The kinds and their MIME types are those of https://cloudinit.readthedocs.io/en/latest/explanation/format.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import yaml

from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.recipe import CloudConfig

LARGEST_DOCUMENT = 1 << 20


class Kind(StrEnum):
    """MIME subtypes of ``text/`` that cloud-init acts upon and that we let through."""

    CLOUD_CONFIG = "cloud-config"
    SCRIPT = "x-shellscript"
    BOOTHOOK = "cloud-boothook"
    TEMPLATE = "jinja2"


# Longest first, as one prefix may begin with another.
_REFUSED = {
    "#cloud-config-archive": "give each of its parts as a file of its own.",
    "#cloud-config-jsonp": "give plain #cloud-config, whose values win over earlier files.",
    "#include": "download what it names and give that as a file; what a URL holds may change.",
    "#part-handler": "use a script (#!) instead.",
}
_PREFIXES = {
    "## template: jinja": Kind.TEMPLATE,
    "#cloud-boothook": Kind.BOOTHOOK,
    "#!": Kind.SCRIPT,
}


@dataclass(frozen=True, slots=True)
class Document:
    """A checked document. ``is_merged`` tells cloud-config (also as a template) from programs; ``shape`` is the
    kind of value ("list", "mapping", "value") of each top-level key, empty where only the guest can know.
    """

    origin: str
    text: str
    kind: Kind
    is_merged: bool
    shape: Mapping[str, str]


def check_documents(documents: Iterable[CloudConfig], *, reserved: Mapping[str, object]) -> tuple[Document, ...]:
    """Check each document alone, and that none gives a key another shape than an earlier one.

    ``reserved`` are settings that moltfleet decides: a document may repeat such a value, not contradict it.

    Raises: InvalidInput, which names the document, and the line and column where there is one.
    """
    checked = tuple(check_document(document, reserved=reserved) for document in documents)
    _check_shapes(checked)
    return checked


def check_document(document: CloudConfig, *, reserved: Mapping[str, object]) -> Document:
    """Tell the document's kind by its first line, and check it as far as its kind allows."""
    origin = printable(document.origin)
    text = document.text.removeprefix("\ufeff").replace("\r\n", "\n")
    _check_text(origin, text)
    _refuse_unmergeable(origin, text)
    kind = _kind_of(text)
    if kind is Kind.TEMPLATE:
        return Document(origin, text, kind, is_merged=_is_template_of_settings(origin, text), shape={})
    if kind is not Kind.CLOUD_CONFIG:
        return Document(origin, text, kind, is_merged=False, shape={})
    return Document(origin, text, kind, is_merged=True, shape=_check_settings(origin, text, reserved))


def _check_text(origin: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(f"User data {origin} is not UTF-8 text", details=str(error)) from error
    if "\0" in text:
        raise InvalidInput(f"User data {origin} is not text", hint="It contains a NUL byte.")
    if size > LARGEST_DOCUMENT:
        raise InvalidInput(
            f"User data {origin} is larger than {LARGEST_DOCUMENT >> 20} MiB", hint="Copy large files by script."
        )


def _refuse_unmergeable(origin: str, text: str) -> None:
    if text[:4096].lower().startswith(("content-type:", "mime-version:")):
        raise InvalidInput(f"User data {origin} is a MIME message", hint="Give each of its parts as a file of its own.")
    for prefix, way_out in _REFUSED.items():
        if text.lower().startswith(prefix):
            raise InvalidInput(f"User data {origin} is of a kind that is not accepted: {prefix}", hint=f"Now {way_out}")


def _kind_of(text: str) -> Kind:
    for prefix, kind in _PREFIXES.items():
        if text.lower().startswith(prefix):
            return kind
    return Kind.CLOUD_CONFIG


def _is_template_of_settings(origin: str, text: str) -> bool:
    second = text.partition("\n")[2].lstrip("\n")
    if second.startswith("#cloud-config\n"):
        return True
    if second.startswith(("#!", "#cloud-boothook")):
        return False
    raise InvalidInput(
        f"User data {origin} is a template of nothing known",
        hint="The line after '## template: jinja' is #cloud-config, #cloud-boothook or #!.",
    )


def _check_settings(origin: str, text: str, reserved: Mapping[str, object]) -> dict[str, str]:
    root, values = _load(origin, text)
    if root is None:
        raise InvalidInput(f"User data {origin} is empty", hint="It holds no setting; leave it out.")
    if not isinstance(root, yaml.MappingNode) or not isinstance(values, dict):
        raise InvalidInput(
            f"User data {origin}, {_place(root.start_mark)}: is not a mapping",
            hint="cloud-config is 'key: value' lines, such as 'packages: [git]'.",
        )
    for key_node, _ in root.value:
        _check_key(origin, key_node, values, reserved)
    return {str(key): _shape_of(value) for key, value in values.items()}


def _load(origin: str, text: str) -> tuple[yaml.Node | None, object]:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", {_place(mark)}" if mark else ""
        raise _not_yaml(origin, place, error.problem or "not YAML", error) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = f", line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
        raise _not_yaml(origin, place, "a control character", error) from error
    except RecursionError as error:
        raise _not_yaml(origin, "", "nested too deeply", error) from error
    except (ValueError, OverflowError) as error:
        # A date that does not exist, a number beyond every limit: PyYAML hands Python's own errors on.
        raise _not_yaml(origin, "", str(error), error) from error


def _not_yaml(origin: str, place: str, problem: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"User data {origin}{place}: {printable(problem)}",
        details=None if isinstance(error, RecursionError) else str(error),
        hint="It is not valid YAML there.",
    )


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _check_key(
    origin: str, key_node: yaml.Node, values: Mapping[object, object], reserved: Mapping[str, object]
) -> None:
    key = key_node.value
    if not isinstance(key_node, yaml.ScalarNode):
        return
    place = _place(key_node.start_mark)
    if key in ("merge_how", "merge_type"):
        raise InvalidInput(
            f"User data {origin}, {place}: {key!r} is not accepted",
            hint="Without it lists are appended, mappings merged, and values of a later file win.",
        )
    if key in reserved and values.get(key) != reserved[key]:
        raise InvalidInput(
            f"User data {origin}, {place}: {key!r} is decided by moltfleet",
            hint="Identity and login belong to each guest: leave the key out.",
        )


def _shape_of(value: object) -> str:
    if isinstance(value, list):
        return "list"
    return "mapping" if isinstance(value, dict) else "value"


def _check_shapes(documents: Iterable[Document]) -> None:
    first: dict[str, tuple[str, str]] = {}
    for document in documents:
        for key, shape in document.shape.items():
            earlier, where = first.setdefault(key, (shape, document.origin))
            if shape != earlier:
                raise InvalidInput(
                    f"User data {document.origin}: {printable(key)!r} is a {shape}, but a {earlier} in {where}",
                    hint="cloud-init can merge a key only when every document gives it the same shape.",
                )
