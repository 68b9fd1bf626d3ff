"""A seed is a small ISO image labelled cidata, the same bytes for the same guest."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pycdlib
import pytest
import yaml

from moltfleet.adapters.seed import NoCloudSeeds
from moltfleet.adapters.userdata import clone_user_data, golden_user_data
from moltfleet.model.errors import InvalidInput
from moltfleet.model.ports import SeedSpec
from moltfleet.model.recipe import CloudConfig, GuestIdentity, HostKeyPair

IDENTITY = GuestIdentity("crab-1", "agent", ("ssh-ed25519 AAAA",), HostKeyPair("private\n", "ssh-ed25519 BBBB"))
SPEC = SeedSpec("iid-7", "crab-1", "52:54:00:AB:CD:01", IDENTITY, is_clone=True)


def read(image: bytes, *, by: str) -> dict[str, bytes]:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found = {}
    for name in ("meta-data", "user-data", "network-config"):
        content = io.BytesIO()
        iso.get_file_from_iso_fp(content, **{by: f"/{name}"})
        found[name] = content.getvalue()
    return found


@pytest.mark.parametrize("by", ["rr_path", "joliet_path"])
def test_the_three_files_are_there_under_both_kinds_of_names(by: str) -> None:
    files = read(NoCloudSeeds().build(SPEC), by=by)
    assert yaml.safe_load(files["meta-data"]) == {"instance-id": "iid-7", "local-hostname": "crab-1"}
    assert files["user-data"] == clone_user_data(IDENTITY)
    card = yaml.safe_load(files["network-config"])["ethernets"]["primary"]
    assert card["match"] == {"macaddress": "52:54:00:ab:cd:01"}
    assert card["dhcp4"] is True
    assert card["dhcp-identifier"] == "mac"


def test_a_build_is_told_more_than_a_clone() -> None:
    documents = (CloudConfig("mine.yaml", "packages: [git]\n"),)
    files = read(NoCloudSeeds().build(replace(SPEC, documents=documents, is_clone=False)), by="rr_path")
    assert files["user-data"] == golden_user_data(IDENTITY, documents)


def test_the_label_is_cidata_and_the_image_small_and_whole_sectors() -> None:
    image = NoCloudSeeds().build(SPEC)
    assert image[16 * 2048 + 40 : 16 * 2048 + 72].decode().strip() == "cidata"
    assert len(image) % 2048 == 0
    assert len(image) < 100 * 1024


def test_neither_the_time_nor_the_zone_changes_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = NoCloudSeeds().build(SPEC)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    second = NoCloudSeeds().build(SPEC)
    monkeypatch.undo()
    time.tzset()
    assert first == second


def test_large_user_data_stays_whole() -> None:
    documents = (CloudConfig("large.sh", "#!/bin/sh\n" + "# filler\n" * 100_000),)
    files = read(NoCloudSeeds().build(replace(SPEC, documents=documents)), by="joliet_path")
    assert files["user-data"] == clone_user_data(IDENTITY, documents)


def test_another_instance_is_another_seed() -> None:
    assert NoCloudSeeds().build(SPEC) != NoCloudSeeds().build(replace(SPEC, instance_id="iid-8"))


def test_a_document_that_is_not_yaml_stops_the_seed() -> None:
    with pytest.raises(InvalidInput, match=r"bad\.yaml, line 2, column 1"):
        NoCloudSeeds().build(replace(SPEC, documents=(CloudConfig("bad.yaml", "a: [\n"),)))
