"""NoCloud seeds: the small ISO 9660 image by which cloud-init in a guest learns who it is; refuses nothing itself.

It holds the guest's private host key: whoever stores it keeps it from others' eyes.
https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moltfleet.model.ports import SeedSpec

_LABEL = "cidata"
_SECTOR = 2048
# ECMA-119: where dates stand in volume descriptors and directory records, and how "not given" is written.
_DESCRIPTORS_START = 16 * _SECTOR
_DESCRIPTOR_WITH_DIRECTORY = (1, 2)
_DESCRIPTOR_DATES = slice(813, 881)
_NO_DESCRIPTOR_DATES = (b"0" * 16 + b"\0") * 4
_RECORD_DATE = slice(18, 25)
_NO_RECORD_DATE = bytes((70, 1, 1, 0, 0, 0, 0))


class NoCloudSeeds:
    """The Seeds port, on pycdlib."""

    def build(self, spec: SeedSpec) -> bytes:
        """Return an ISO 9660 image labelled ``cidata`` with Joliet and Rock Ridge names."""
        from moltfleet.adapters.userdata import clone_user_data, golden_user_data

        compose = clone_user_data if spec.is_clone else golden_user_data
        return _image(
            {
                "meta-data": meta_data(spec),
                "network-config": network_config(spec),
                "user-data": compose(spec.identity, spec.documents),
            }
        )


def meta_data(spec: SeedSpec) -> bytes:
    """Say which instance it is; a new instance-id makes cloud-init treat the boot as a first one."""
    return _yaml({"instance-id": spec.instance_id, "local-hostname": spec.hostname})


def network_config(spec: SeedSpec) -> bytes:
    """Ask for DHCP on our card (network config version 2).

    The address is fixed by MAC in the network's definition, so the client identifier is the MAC as well.
    """
    card = {
        "match": {"macaddress": spec.mac.lower()},
        "dhcp4": True,
        "dhcp6": False,
        "dhcp-identifier": "mac",
    }
    return _yaml({"version": 2, "ethernets": {"primary": card}})


def _yaml(content: dict[str, object]) -> bytes:
    import yaml

    return yaml.safe_dump(content, sort_keys=False).encode()


def _image(files: dict[str, bytes]) -> bytes:
    import pycdlib  # takes 50 ms, which `moltfleet --help` shall not pay

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=_LABEL, joliet=3, rock_ridge="1.09")
    for name, content in files.items():
        short = "/" + name.replace("-", "")[:8].upper() + ".;1"
        iso.add_fp(io.BytesIO(content), len(content), short, rr_name=name, joliet_path=f"/{name}")
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    image = bytearray(written.getvalue())
    image.extend(bytes(-len(image) % _SECTOR))
    _remove_dates(image)
    return bytes(image)


def _remove_dates(image: bytearray) -> None:
    """Overwrite every date, as pycdlib writes the time of day: the same seed shall be the same bytes."""
    for descriptor in _descriptors(image):
        descriptor[_DESCRIPTOR_DATES] = _NO_DESCRIPTOR_DATES
        root = descriptor[156:190]
        root[_RECORD_DATE] = _NO_RECORD_DATE
        extent, length = int.from_bytes(root[2:6], "little"), int.from_bytes(root[10:14], "little")
        directory = memoryview(image)[extent * _SECTOR : extent * _SECTOR + length]
        for record in _records(directory):
            record[_RECORD_DATE] = _NO_RECORD_DATE
            _remove_rock_ridge_dates(record)


def _descriptors(image: bytearray) -> Iterator[memoryview]:
    view = memoryview(image)
    for start in range(_DESCRIPTORS_START, len(image), _SECTOR):
        descriptor = view[start : start + _SECTOR]
        if descriptor[0] == 255:  # the terminator of the set
            return
        if descriptor[0] in _DESCRIPTOR_WITH_DIRECTORY:
            yield descriptor


def _records(directory: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(directory), _SECTOR):
        sector, position = directory[start : start + _SECTOR], 0
        while position < len(sector) and (length := sector[position]):
            yield sector[position : position + length]
            position += length


def _remove_rock_ridge_dates(record: memoryview) -> None:
    name_length = record[32]
    position = 33 + name_length + (1 - name_length % 2)
    while position + 4 <= len(record) and (length := record[position + 2]):
        if bytes(record[position : position + 2]) == b"TF":
            stamps = record[position + 5 : position + length]
            stamps[:] = (_NO_RECORD_DATE * len(stamps))[: len(stamps)]
        position += length
