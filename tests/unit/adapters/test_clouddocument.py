"""Documents are refused before a guest sees them, with the place where they are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.adapters.clouddocument import LARGEST_DOCUMENT, Document, Kind, check_document, check_documents
from moltfleet.model.errors import InvalidInput
from moltfleet.model.recipe import CloudConfig


def check(text: str, **reserved: object) -> Document:
    return check_document(CloudConfig("mine.yaml", text), reserved=reserved)


def refusal(text: str, **reserved: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check(text, **reserved)
    return caught.value


@pytest.mark.parametrize(
    ("text", "kind", "is_merged"),
    [
        ("#cloud-config\npackages: [git]\n", Kind.CLOUD_CONFIG, True),
        ("packages: [git]\n", Kind.CLOUD_CONFIG, True),
        ("#!/bin/sh\ntrue\n", Kind.SCRIPT, False),
        ("#cloud-boothook\n#!/bin/sh\n", Kind.BOOTHOOK, False),
        ("## template: jinja\n#cloud-config\nmotd: {{ v1.region }}\n", Kind.TEMPLATE, True),
        ("## template: jinja\n#!/bin/sh\necho {{ v1.region }}\n", Kind.TEMPLATE, False),
    ],
)
def test_the_first_line_tells_the_kind(text: str, kind: Kind, is_merged: bool) -> None:
    document = check(text)
    assert (document.kind, document.is_merged) == (kind, is_merged)


@pytest.mark.parametrize(
    ("text", "brief"),
    [
        ("#cloud-config\npackages: [git\n", "User data mine.yaml, line 3, column 1: expected ',' or ']', but got"),
        ("#cloud-config\n\tpackages: 1\n", "User data mine.yaml, line 2, column 1: found character"),
        ("#cloud-config\na: b: c\n", "User data mine.yaml, line 2, column 5: mapping values are not allowed"),
        ("#cloud-config\na: \x07\n", "User data mine.yaml, line 2, column 4: a control character"),
        ("#cloud-config\n- git\n", "User data mine.yaml, line 2, column 1: is not a mapping"),
        ("hello there\n", "User data mine.yaml, line 1, column 1: is not a mapping"),
        ("a: 1\n---\nb: 2\n", "User data mine.yaml, line 2, column 1: but found another document"),
        ("when: 2024-13-45\n", "User data mine.yaml: month must be in 1..12"),
        ("#cloud-config\n# nothing\n", "User data mine.yaml is empty"),
        ("", "User data mine.yaml is empty"),
        ("a: b\0c\n", "User data mine.yaml is not text"),
        ("a: \udc80\n", "User data mine.yaml is not UTF-8 text"),
        ("a: !!python/object:os.system {}\n", "User data mine.yaml, line 1, column 4: could not determine a"),
        ("MIME-Version: 1.0\n", "User data mine.yaml is a MIME message"),
        ("## template: jinja\nhello\n", "User data mine.yaml is a template of nothing known"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, brief: str) -> None:
    assert refusal(text).brief.startswith(brief)


def test_nesting_without_end_is_refused() -> None:
    assert refusal("a: " + "[" * 5000).brief == "User data mine.yaml: nested too deeply"


@pytest.mark.parametrize("header", ["#include", "#cloud-config-archive", "#cloud-config-jsonp", "#part-handler"])
def test_kinds_that_cannot_be_merged_or_repeated_are_refused(header: str) -> None:
    error = refusal(f"{header}\nhttp://example.org/x\n")
    assert error.brief == f"User data mine.yaml is of a kind that is not accepted: {header}"
    assert error.hint


def test_a_document_may_repeat_a_reserved_value_but_not_contradict_it() -> None:
    assert check("ssh_pwauth: false\n", ssh_pwauth=False).shape == {"ssh_pwauth": "value"}
    error = refusal("a: 1\nssh_pwauth: true\n", ssh_pwauth=False)
    assert error.brief == "User data mine.yaml, line 2, column 1: 'ssh_pwauth' is decided by moltfleet"


def test_merge_rules_of_its_own_are_refused() -> None:
    assert "'merge_how' is not accepted" in refusal("merge_how: dict(replace)\n").brief


def test_windows_line_ends_and_byte_order_marks_go() -> None:
    assert check("\ufeff#cloud-config\r\na: 1\r\n").text == "#cloud-config\na: 1\n"


def test_the_largest_document_is_taken_and_one_byte_more_is_not() -> None:
    text = "a: " + "x" * (LARGEST_DOCUMENT - 4) + "\n"
    assert check(text).kind is Kind.CLOUD_CONFIG
    assert refusal(text + "\n").brief == "User data mine.yaml is larger than 1 MiB"


def test_a_key_that_changes_its_shape_between_documents_is_refused() -> None:
    documents = [CloudConfig("a.yaml", "users: [x]\n"), CloudConfig("b.yaml", "users: {x: 1}\n")]
    with pytest.raises(InvalidInput, match=r"User data b\.yaml: 'users' is a mapping, but a list in a\.yaml"):
        check_documents(documents, reserved={})


def test_control_characters_of_a_path_do_not_reach_a_message() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_document(CloudConfig("x\x1b[31m.yaml", "- a"), reserved={})
    assert "\x1b" not in caught.value.brief


@given(st.text())
def test_any_text_is_taken_or_refused_as_input(text: str) -> None:
    try:
        check(text)
    except InvalidInput as error:
        assert error.brief.startswith("User data mine.yaml")
