"""Parts go out so that a later file wins and lists keep their order; secrets stay out of what is shown."""

from __future__ import annotations

import email
from collections.abc import Callable, Sequence
from email.message import Message

import pytest
import yaml

from moltfleet.adapters.userdata import MERGE_TYPE, clone_user_data, golden_user_data
from moltfleet.model.errors import InvalidInput
from moltfleet.model.recipe import CloudConfig, GuestIdentity, HostKeyPair

IDENTITY = GuestIdentity(
    "crab-1",
    "agent",
    ("ssh-ed25519 AAAA fleet",),
    HostKeyPair("-----BEGIN-----\nsecret\n-----END-----", "ssh-ed25519 B"),
)


def parts(documents: Sequence[CloudConfig]) -> list[Message]:
    message = email.message_from_bytes(golden_user_data(IDENTITY, documents))
    assert message.is_multipart()
    return [part for part in message.walk() if not part.is_multipart()]


def test_alone_the_base_document_is_plain_cloud_config() -> None:
    text = golden_user_data(IDENTITY)
    assert text.startswith(b"#cloud-config\n")
    assert yaml.safe_load(text)["hostname"] == "crab-1"


def test_settings_go_out_last_first_and_the_base_after_them() -> None:
    names = [p.get_filename() for p in parts([CloudConfig("a.yaml", "a: 1\n"), CloudConfig("b.yaml", "a: 2\n")])]
    assert names == ["001-b.yaml", "002-a.yaml", "003-moltfleet.yaml"]


def test_scripts_go_out_in_their_own_order_after_the_settings() -> None:
    given = [CloudConfig("1.sh", "#!/bin/sh\n"), CloudConfig("a.yaml", "a: 1\n"), CloudConfig("2.sh", "#!/bin/sh\n")]
    names = [part.get_filename() for part in parts(given)]
    assert names == ["001-a.yaml", "002-moltfleet.yaml", "003-1.sh", "004-2.sh"]


def test_every_part_with_settings_carries_the_rule_and_no_script_does() -> None:
    given = [CloudConfig("a.yaml", "a: 1\n"), CloudConfig("t.yaml", "## template: jinja\n#cloud-config\nb: 1\n")]
    found = [(p.get_content_type(), p["Merge-Type"]) for p in parts([*given, CloudConfig("1.sh", "#!/bin/sh\n")])]
    assert found == [
        ("text/jinja2", MERGE_TYPE),
        ("text/cloud-config", MERGE_TYPE),
        ("text/cloud-config", MERGE_TYPE),
        ("text/x-shellscript", None),
    ]


@pytest.mark.parametrize("text", ["a: Grüße 🦀\n", "a: plain\n\n\n", "a: 'From here'\nFrom: there\n", "a: no line end"])
def test_a_document_arrives_as_it_was_written(text: str) -> None:
    part = parts([CloudConfig("a.yaml", text)])[0]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode() == text


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    part = parts([CloudConfig('/x/y/evil"\r\nMerge-Type: dict(replace).yaml', "a: 1\n")])[0]
    assert part.get_filename() == "001-evil-Merge-Type-dict-replace-.yaml"


def test_a_private_key_is_written_whole_and_never_shown() -> None:
    keys = yaml.safe_load(clone_user_data(IDENTITY))["ssh_keys"]
    assert keys == {"ed25519_private": "-----BEGIN-----\nsecret\n-----END-----\n", "ed25519_public": "ssh-ed25519 B"}
    assert "secret" not in repr(IDENTITY)


@pytest.mark.parametrize("compose", [golden_user_data, clone_user_data])
@pytest.mark.parametrize("text", ["hostname: other\n", "fqdn: a.b\n", "ssh_pwauth: true\n", "ssh_keys: {}\n"])
def test_identity_and_login_cannot_be_overridden(
    compose: Callable[[GuestIdentity, Sequence[CloudConfig]], bytes], text: str
) -> None:
    with pytest.raises(InvalidInput, match="decided by moltfleet"):
        compose(IDENTITY, [CloudConfig("mine.yaml", text)])


def test_users_that_would_push_out_our_own_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"'users' is a mapping, but a list in moltfleet\.yaml"):
        golden_user_data(IDENTITY, [CloudConfig("mine.yaml", "users: {bob: {}}\n")])


def test_all_documents_together_are_bounded() -> None:
    large = CloudConfig("large.sh", "#!/bin/sh\n" + "x" * 1_000_000)
    with pytest.raises(InvalidInput, match="larger than 8 MiB in all"):
        golden_user_data(IDENTITY, [large] * 9)


def test_the_same_input_gives_the_same_bytes() -> None:
    given = [CloudConfig("a.yaml", "a: 1\n")]
    assert golden_user_data(IDENTITY, given) == golden_user_data(IDENTITY, given)
