"""To be run by name. What the scripts of moltdown leave, made with virsh and qemu-img as they do it, adopted and back.

No golden and no clone here was made by moltfleet. virt-clone gives a copy another name, UUID and MAC; so does this.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.scripts_made import CLONE, GOLDEN, domain_xml
from lab.guest import make_key, make_seed
from moltfleet.model.effects import Effect

from .conftest import IMAGES, POOL, Lab, User
from .test_crash import kill_at

DIRECTORY = "/var/lib/libvirt/images"
DISKS = {name: f"{DIRECTORY}/{name}.qcow2" for name in (GOLDEN, CLONE)}
# The controller is what a SPICE channel brings; QEMU's SPICE is not installed everywhere.
_SCREEN = "<serial type='pty'/><controller type='virtio-serial' index='0'/>"
_QUICK = {"type": "qemu", "machine": " machine='q35'", "screen": _SCREEN, "memory": "192"}
_TINY_S = 180.0


def define(lab: Lab, name: str, disk: str, *, number: int, **changes: str) -> None:
    text = domain_xml(name, disk, number=number, **(_QUICK | changes))
    path = f"/tmp/{name}.xml"
    lab.run("tee", path, input=text)
    lab.virsh("define", path)


def await_state(lab: Lab, name: str, state: str) -> None:
    deadline = time.monotonic() + _TINY_S
    while lab.virsh("domstate", name) != state:
        assert time.monotonic() < deadline, f"{name} is not {state}"
        time.sleep(0.5)


def ask_agent(lab: Lab, name: str, command: dict[str, object]) -> dict[str, object]:
    """What the guest agent returns, as soon as it answers."""
    deadline = time.monotonic() + _TINY_S
    line = ("virsh", "-q", "-c", "qemu:///system", "qemu-agent-command", name, json.dumps(command))
    while (done := lab.run(*line, check=False)).returncode != 0:
        assert time.monotonic() < deadline, f"{name}: {done.stderr}"
        time.sleep(0.5)
    found = json.loads(done.stdout)["return"]
    assert isinstance(found, dict)
    return found


def run_in_guest(lab: Lab, name: str, script: str) -> str:
    arguments = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
    started = ask_agent(lab, name, {"execute": "guest-exec", "arguments": arguments})
    while True:
        status = ask_agent(lab, name, {"execute": "guest-exec-status", "arguments": {"pid": started["pid"]}})
        if status["exited"]:
            assert status["exitcode"] == 0, status
            return base64.b64decode(str(status.get("out-data", ""))).decode().strip()
        time.sleep(0.2)


def shut_down(lab: Lab, name: str) -> None:
    lab.virsh("shutdown", name)
    await_state(lab, name, "shut off")


@pytest.fixture(scope="module")
def scripts(alice: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A golden VM with `dev-ready`, and a linked clone of it with somebody's work: what clone_manager.sh leaves."""
    lab, folder = alice.lab, tmp_path_factory.mktemp("scripts")
    # virt-install makes the pool of the directory that it puts disks into.
    lab.virsh("pool-define-as", "default", "dir", "--target", DIRECTORY)
    lab.virsh("pool-start", "default")
    _make_golden(lab, folder)
    _make_clone(lab)
    yield lab
    lab.virsh("pool-destroy", "default")
    lab.virsh("pool-undefine", "default")
    for name in (CLONE, GOLDEN):
        lab.run("virsh", "destroy", name, check=False)
        lab.run("virsh", "undefine", name, "--snapshots-metadata", check=False)
        lab.run("sh", "-c", f"rm -f {DISKS[name]} {DIRECTORY}/{name}-seed.iso {POOL}/{name}.*")
    lab.virsh("pool-refresh", "moltfleet")


def _make_golden(lab: Lab, folder: Path) -> None:
    make_key(folder / "key")
    make_key(folder / "host_key")
    (folder / "seed.iso").write_bytes(make_seed("agent-vm", folder))
    seed = f"{DIRECTORY}/{GOLDEN}-seed.iso"
    lab.run("cp", str(IMAGES / "tiny.qcow2"), DISKS[GOLDEN])
    lab.run("cp", str(folder / "seed.iso"), seed)
    disk = f"<disk type='file' device='disk'><source file='{seed}'/><target dev='vdb' bus='virtio'/><readonly/></disk>"
    define(lab, GOLDEN, DISKS[GOLDEN], number=1, has_agent="yes", more=disk)
    lab.run("sh", "-c", "virsh net-info default | grep -q '^Active: *yes' || virsh net-start default")
    lab.virsh("start", GOLDEN)
    run_in_guest(
        lab, GOLDEN, "i=0; until id agent >/dev/null 2>&1 || [ $i -gt 60 ]; do sleep 1; i=$((i+1)); done; sync"
    )
    shut_down(lab, GOLDEN)
    # The scripts' seed is a CD-ROM that clones lose; the tiny guest's kernel would not see one.
    lab.virsh("detach-disk", GOLDEN, "vdb", "--config")
    lab.virsh("snapshot-create-as", GOLDEN, "dev-ready", "--description", "Chrome + gh + dev tools", "--atomic")


def _make_clone(lab: Lab) -> None:
    lab.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", DISKS[GOLDEN], "-F", "qcow2", DISKS[CLONE])
    define(lab, CLONE, DISKS[CLONE], number=2, has_agent="yes")
    lab.virsh("start", CLONE)
    run_in_guest(lab, CLONE, "echo of-a-day > /root/work && sync")
    shut_down(lab, CLONE)
    # virt-install with a SPICE channel leaves the agent's out, as in virt_install_agent_vm.sh.
    define(lab, CLONE, DISKS[CLONE], number=2)


def outcomes(document: dict[str, object]) -> dict[str, str]:
    results = document["results"]
    assert isinstance(results, list)
    return {one["name"]: one["outcome"] for one in results}


def link(user: User) -> None:
    """Run what `adopt` says has to be run before: once is enough."""
    plan = subprocess.run(user.argv("--json", "adopt", GOLDEN), capture_output=True, text=True, check=False)
    commands = [
        command.removeprefix("sudo ") for one in json.loads(plan.stdout)["results"] for command in one["commands"]
    ]
    user.lab.run("sh", "-ec", "\n".join(dict.fromkeys(commands)))


def definition(lab: Lab, name: str) -> str:
    """The whole definition but for the path of the disk, which a hard link gave a second one."""
    document = ET.fromstring(lab.virsh("dumpxml", "--inactive", name))
    for source in document.iterfind("devices/disk/source"):
        source.set("file", source.attrib["file"].rpartition("/")[2])
    return ET.canonicalize(ET.tostring(document, encoding="unicode"), strip_text=True)


def digests(lab: Lab) -> dict[str, str]:
    return {name: lab.out("sha256sum", disk).split()[0] for name, disk in DISKS.items()}


def test_it_is_adopted_molted_and_given_back(alice: User, scripts: Lab) -> None:
    lab, before = scripts, {name: definition(scripts, name) for name in DISKS}
    link(alice)
    assert outcomes(alice.json("adopt", GOLDEN)) == {GOLDEN: "adoptable", CLONE: "adoptable"}
    was = digests(lab)
    inodes = lab.out("stat", "-c", "%i", DISKS[GOLDEN], f"{POOL}/{GOLDEN}.qcow2").split()
    assert inodes[0] == inodes[1]

    alice.run("adopt", GOLDEN, "--apply", code=2)
    assert {name: definition(lab, name) for name in DISKS} == before
    assert outcomes(alice.json("adopt", GOLDEN, "--apply", "--yes")) == {GOLDEN: "adopted", CLONE: "adopted"}
    assert digests(lab) == was
    assert ET.fromstring(lab.virsh("dumpxml", GOLDEN)).find("devices/disk/readonly") is not None
    assert outcomes(alice.json("adopt", GOLDEN)) == {GOLDEN: "unchanged"}
    assert "dev-ready" in lab.virsh("snapshot-list", GOLDEN, "--name")

    # Given back at once it is what it was, and adopted again.
    assert set(outcomes(alice.json("adopt", "--undo", "--apply", "--yes")).values()) == {"returned"}
    assert {name: definition(lab, name) for name in DISKS} == before
    assert digests(lab) == was
    alice.run("adopt", GOLDEN, "--apply", "--yes")

    alice.run("start", CLONE)
    assert alice.shell(CLONE, "sudo cat /root/work") == "of-a-day"
    alice.shell(CLONE, "echo leak > leak; sync")
    (molted,) = alice.json("molt", CLONE, "--yes")["results"]
    assert (molted["outcome"], molted["mode"]) == ("molted", "warm"), molted
    assert alice.shell(CLONE, "sudo cat /root/work; ls leak 2>/dev/null || true") == "of-a-day"
    alice.shell(CLONE, "echo more | sudo tee /root/more; sync")
    alice.run("stop", CLONE)
    assert lab.digest(f"{GOLDEN}.qcow2") == was[GOLDEN]

    assert set(outcomes(alice.json("adopt", "--undo", "--apply", "--yes")).values()) == {"returned"}
    assert CLONE not in {clone["name"] for clone in alice.json("list")["clones"]}
    # Theirs again: virsh starts it, on everything that was written.
    lab.virsh("start", CLONE)
    await_state(lab, CLONE, "running")
    lab.virsh("destroy", CLONE)
    assert outcomes(alice.json("adopt", GOLDEN, "--apply", "--yes")) == {GOLDEN: "adopted", CLONE: "adopted"}
    alice.run("start", CLONE)
    assert alice.shell(CLONE, "sudo cat /root/work /root/more").split() == ["of-a-day", "more"]
    alice.run("stop", CLONE)
    alice.run("adopt", "--undo", "--apply", "--yes")


def test_what_runs_or_was_saved_is_refused_and_stays_as_it_is(alice: User, scripts: Lab) -> None:
    lab = scripts
    link(alice)
    lab.virsh("start", CLONE)
    try:
        await_state(lab, CLONE, "running")
        refused = alice.json("adopt", GOLDEN, "--apply", "--yes", code=1)
        told = {one["name"]: one["error"]["brief"] for one in refused["results"] if one["error"]}
        assert told == {CLONE: f"Domain '{CLONE}' is running"}
        lab.virsh("managedsave", CLONE)
        (one,) = [row for row in alice.json("adopt", GOLDEN, code=1)["results"] if row["name"] == CLONE]
        assert "managed save image" in one["error"]["brief"]
    finally:
        lab.run("virsh", "managedsave-remove", CLONE, check=False)
        alice.run("adopt", "--undo", "--apply", "--yes")


def test_killed_after_any_effect_the_same_command_goes_on(alice: User, scripts: Lab) -> None:
    lab = scripts
    link(alice)
    was, before = digests(lab), {name: definition(lab, name) for name in DISKS}
    kill_at(alice, Effect.ADOPT_TAKEN, "adopt", GOLDEN, "--apply", "--yes")
    assert outcomes(alice.json("adopt", GOLDEN, "--apply", "--yes")) == {GOLDEN: "unchanged", CLONE: "adopted"}
    kill_at(alice, Effect.ADOPT_RETURNED, "adopt", "--undo", "--apply", "--yes")
    assert outcomes(alice.json("adopt", "--undo", "--apply", "--yes")) == {GOLDEN: "returned"}
    assert {name: definition(lab, name) for name in DISKS} == before
    assert digests(lab) == was
    alice.run("adopt", GOLDEN, "--apply", "--yes")
    kill_at(alice, Effect.ADOPT_PINNED, "start", CLONE)
    alice.run("start", CLONE)
    assert alice.shell(CLONE, "sudo cat /root/work") == "of-a-day"
    alice.run("stop", CLONE)
    alice.run("adopt", "--undo", "--apply", "--yes")
