"""Balloons of running domains, on a host of libvirt's test driver that is written for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.adapters.libvirt.balloons import free_page_reporting
from moltfleet.model.errors import MoltfleetError

NODE = """\
<node>
  <cpu>
    <mhz>2000</mhz><model>x86_64</model><active>4</active>
    <nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads>
  </cpu>
  <memory>16777216</memory>
  {domains}
</node>
"""
DOMAIN = """\
<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>
  <devices>{balloon}</devices>
  <test:runstate>{state}</test:runstate>
</domain>
"""
# As libvirt's test driver counts: running, and shut off.
RUNNING, OFF = 1, 5
REPORTING = "<memballoon model='virtio' freePageReporting='on'/>"


def test_running_domains_are_told_with_what_their_balloon_does(tmp_path: Path) -> None:
    domains = (
        DOMAIN.format(name="clone", balloon=REPORTING, state=RUNNING),
        DOMAIN.format(name="keeps", balloon="<memballoon model='virtio'/>", state=RUNNING),
        DOMAIN.format(name="refuses", balloon="<memballoon model='virtio' freePageReporting='off'/>", state=RUNNING),
        DOMAIN.format(name="bare", balloon="", state=RUNNING),
        DOMAIN.format(name="off", balloon="", state=OFF),
    )
    file = tmp_path / "host.xml"
    file.write_text(NODE.format(domains="\n".join(domains)))
    found = free_page_reporting(f"test://{file}")
    assert found == {"clone": True, "keeps": False, "refuses": False, "bare": False}


def test_a_libvirt_that_cannot_be_reached_is_said() -> None:
    with pytest.raises(MoltfleetError):
        free_page_reporting("test:///no/such/file.xml")
