"""A drawing made fit for standing in a page: edited as a tree, with the page's colours, fonts and no foreign names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# The page sets them; a font's name would have to be on the reader's machine.
_DROPPED_STYLES = {"font-family"}


def adopt(drawing: bytes, *, key: str, title: str, description: str, colours: Mapping[str, str]) -> ET.Element:
    """Return an SVG element for HTML, read aloud as ``title`` and ``description``.

    ``colours`` are what was drawn with, and what stands for it in the page. Identifiers begin with ``key``, so that
    several drawings can stand in one page.
    """
    # matplotlib wrote it: it holds no entity but those of XML itself.
    root = ET.fromstring(drawing)
    _take_out(root, "metadata", "style")
    for element in root.iter():
        _plain_names(element)
    used = {match for element in root.iter() for match in _references(element)}
    for element in root.iter():
        _own_identifiers(element, key, used)
        _restyle(element, colours)
    _label(root, key, title, description)
    return root


def _take_out(root: ET.Element, *names: str) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in names:
                parent.remove(child)


def _plain_names(element: ET.Element) -> None:
    """HTML knows SVG without namespaces."""
    element.tag = element.tag.rpartition("}")[2]
    if _XLINK_HREF in element.attrib:
        element.set("href", element.attrib.pop(_XLINK_HREF))


def _references(element: ET.Element) -> list[str]:
    found = [match for value in element.attrib.values() for match in _REFERENCE.findall(value)]
    href = element.get("href", "")
    return [*found, href[1:]] if href.startswith("#") else found


def _own_identifiers(element: ET.Element, key: str, used: set[str]) -> None:
    identifier = element.attrib.pop("id", None)
    if identifier in used:
        element.set("id", f"{key}-{identifier}")
    for name, value in list(element.attrib.items()):
        if name == "href":
            element.set(name, f"#{key}-{value[1:]}")
        elif "url(#" in value:
            element.set(name, _REFERENCE.sub(rf"url(#{key}-\1)", value))


def _restyle(element: ET.Element, colours: Mapping[str, str]) -> None:
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if "style" not in element.attrib:
        return
    pairs = (part.partition(":") for part in element.attrib["style"].split(";") if part.strip())
    styles = {name.strip(): value.strip() for name, _, value in pairs}
    kept = [f"{n}: {colours.get(v, v)}" for n, v in styles.items() if n not in _DROPPED_STYLES]
    element.set("style", "; ".join(kept))


def _label(root: ET.Element, key: str, title: str, description: str) -> None:
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-labelledby", f"{key}-title {key}-description")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(tag, id=f"{key}-{'title' if tag == 'title' else 'description'}")
        element.text = text
        root.insert(position, element)
