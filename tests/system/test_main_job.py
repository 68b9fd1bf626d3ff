"""The main job on the real hypervisor, with the tiny guest: clones made, dirtied, molted, undone, stopped, deleted."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import POOL, User

DIRTY = "echo dirt > ~/dirt && echo dirt | sudo tee /etc/dirt && sync"
IS_CLEAN = "test ! -e ~/dirt && test ! -e /etc/dirt && echo clean"


def test_a_fresh_clone_is_running_warm_and_reachable(alice: User, crab: str) -> None:
    clone = alice.clone(crab)
    assert (clone["state"], clone["warm"], clone["health"]) == ("running", "warm", "ok")
    assert alice.shell(crab, "hostname") == crab
    assert "running" in alice.lab.virsh("domstate", crab)


def test_a_warm_molt_takes_the_dirt_away_and_keeps_the_guest_running_from_its_clean_point(
    alice: User, crab: str
) -> None:
    boot = alice.shell(crab, "cat /proc/sys/kernel/random/boot_id")
    alice.shell(crab, DIRTY)
    result = alice.json("molt", crab, "--yes")["results"][0]
    assert (result["outcome"], result["mode"], result["reason"]) == ("molted", "warm", "")
    assert alice.shell(crab, IS_CLEAN) == "clean"
    assert alice.shell(crab, "cat /proc/sys/kernel/random/boot_id") == boot


def test_ram_is_saved_sparse_where_libvirt_offers_it_and_comes_back_either_way(alice: User, crab: str) -> None:
    image = f"{POOL}/{crab}.clean.1.ram"
    offers = "--image-format" in alice.lab.out("virsh", "help", "save")
    # The format in libvirt's header of the image: 0 is "raw", 6 is "sparse" (qemu_saveimage.c).
    assert alice.lab.out("od", "-An", "-tu4", "-j28", "-N4", image) == ("6" if offers else "0")
    assert alice.lab.out("stat", "-c", "%a", image) == "600"
    assert alice.json("molt", crab, "--yes")["results"][0]["mode"] == "warm"


def test_the_clock_is_right_after_a_warm_molt(alice: User, crab: str) -> None:
    alice.run("molt", crab, "--yes")
    before = float(alice.lab.out("date", "+%s.%N"))
    guest = float(alice.shell(crab, "date +%s.%N"))
    after = float(alice.lab.out("date", "+%s.%N"))
    assert before - 0.5 <= guest <= after + 0.5


def test_two_molts_of_one_clean_point_do_not_repeat_their_random_numbers(alice: User, crab: str) -> None:
    drawn = set()
    for _ in range(2):
        alice.run("molt", crab, "--yes")
        drawn.add(alice.shell(crab, "head -c 16 /dev/urandom | sha256sum"))
    assert len(drawn) == 2


def test_a_cold_molt_takes_the_dirt_away_and_boots(alice: User, crab: str) -> None:
    boot = alice.shell(crab, "cat /proc/sys/kernel/random/boot_id")
    alice.shell(crab, DIRTY)
    result = alice.json("molt", crab, "--cold", "--yes")["results"][0]
    assert (result["outcome"], result["mode"], result["reason"]) == ("molted", "cold", "asked for")
    assert alice.shell(crab, IS_CLEAN) == "clean"
    assert alice.shell(crab, "cat /proc/sys/kernel/random/boot_id") != boot


def test_undo_brings_the_dirt_back_and_undoes_itself(alice: User, crab: str) -> None:
    alice.shell(crab, DIRTY)
    alice.run("molt", crab, "--yes")
    alice.run("undo", crab, "--yes")
    assert alice.shell(crab, "cat ~/dirt /etc/dirt") == "dirt\ndirt"
    alice.run("undo", crab, "--yes")
    assert alice.shell(crab, IS_CLEAN) == "clean"


def test_only_the_last_shed_layer_stays(alice: User, crab: str) -> None:
    own = {v for v in alice.lab.volumes() if v.startswith(f"{crab}.")}
    assert own == {"crab.clean.qcow2", "crab.clean.1.ram", "crab.1.qcow2", "crab.seed.iso"}
    for _ in range(3):
        alice.run("molt", crab, "--yes")
    own = {v for v in alice.lab.volumes() if v.startswith(f"{crab}.")}
    assert own == {"crab.clean.qcow2", "crab.clean.1.ram", "crab.3.qcow2", "crab.4.qcow2", "crab.seed.iso"}


def test_a_molt_leaves_golden_and_sibling_byte_for_byte_untouched(
    alice: User, tiny: str, crab: str, remove: Callable[[str], str]
) -> None:
    alice.run("create", tiny, remove("sibling"))
    alice.run("stop", "sibling")
    watched = [v for v in alice.lab.volumes() if v.startswith(("sibling.", f"{tiny}.g"))]
    before = {volume: alice.lab.digest(volume) for volume in watched}
    alice.shell(crab, DIRTY)
    alice.run("molt", crab, "--yes")
    alice.run("molt", crab, "--cold", "--yes")
    assert {volume: alice.lab.digest(volume) for volume in watched} == before
    assert "sibling.1.qcow2" in watched


def test_starting_the_golden_with_virsh_cannot_write_it(alice: User, tiny: str, crab: str) -> None:
    volume = alice.json("golden", "show", tiny)["golden"]["name"] + ".g1.qcow2"
    before = alice.lab.digest(volume)
    alice.lab.virsh("start", tiny)
    try:
        alice.lab.run("sleep", "8")
        assert "running" in alice.lab.virsh("domstate", tiny)
        # The clone above it is not disturbed meanwhile.
        alice.run("molt", crab, "--yes")
        stats = dict(line.split("=") for line in alice.lab.virsh("domstats", "--block", tiny).split() if "=" in line)
        assert int(stats["block.0.rd.bytes"]) > 1_000_000
        assert int(stats["block.0.wr.bytes"]) == 0
    finally:
        alice.lab.virsh("destroy", tiny)
    assert alice.lab.digest(volume) == before


def test_stop_asks_the_guest_and_start_brings_it_back_as_it_was(alice: User, crab: str) -> None:
    alice.shell(crab, "echo kept > ~/kept")
    result = alice.json("stop", crab)["results"][0]
    assert (result["outcome"], result["detail"]) == ("stopped", "")
    assert "shut off" in alice.lab.virsh("domstate", crab)
    assert alice.json("stop", crab)["results"][0]["outcome"] == "unchanged"
    assert alice.json("start", crab)["results"][0]["outcome"] == "started"
    assert alice.shell(crab, "cat ~/kept") == "kept"
    assert alice.json("start", crab)["results"][0]["outcome"] == "unchanged"


def test_stop_now_cuts_the_power(alice: User, crab: str) -> None:
    result = alice.json("stop", crab, "--now")["results"][0]
    assert (result["outcome"], result["detail"]) == ("stopped", "power cut")


def test_stop_cuts_the_power_of_a_guest_that_does_not_listen(alice: User, crab: str) -> None:
    alice.lab.virsh("suspend", crab)
    result = alice.json("stop", crab, "--timeout", "2")["results"][0]
    assert (result["outcome"], result["detail"]) == ("stopped", "power cut after the deadline")


def test_restart_boots_again(alice: User, crab: str) -> None:
    boot = alice.shell(crab, "cat /proc/sys/kernel/random/boot_id")
    assert alice.json("restart", crab)["results"][0]["outcome"] == "restarted"
    assert alice.shell(crab, "cat /proc/sys/kernel/random/boot_id") != boot


def test_a_molt_of_a_stopped_clone_starts_it_clean(alice: User, crab: str) -> None:
    alice.shell(crab, DIRTY)
    alice.run("stop", crab, "--now")
    assert alice.json("molt", crab, "--yes")["results"][0]["mode"] == "warm"
    assert alice.shell(crab, IS_CLEAN) == "clean"


def test_delete_removes_everything_of_the_clone_and_nothing_else(
    alice: User, tiny: str, remove: Callable[[str], str]
) -> None:
    before_volumes, before_domains = alice.lab.volumes(), alice.lab.domains()
    alice.run("create", tiny, remove("doomed"))
    alice.run("molt", "doomed", "--keep", "precious", "--yes")
    # Somebody's own volume beside ours, and somebody's own domain, that look like the clone's.
    alice.lab.virsh("vol-create-as", "moltfleet", "doomed-notes.qcow2", "1M", "--format", "qcow2")
    try:
        alice.lab.run("virsh", "define", "/dev/stdin", input=FOREIGN)
        alice.run("delete", "doomed", "--yes")
        assert alice.lab.volumes() == before_volumes | {"doomed-notes.qcow2"}
        assert alice.lab.domains() == before_domains | {"doomed-foreign"}
    finally:
        alice.lab.virsh("undefine", "doomed-foreign")
        alice.lab.virsh("vol-delete", "doomed-notes.qcow2", "moltfleet")


FOREIGN = """\
<domain type='qemu'><name>doomed-foreign</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64'>hvm</type></os></domain>
"""


def test_a_foreign_domain_is_never_touched(alice: User) -> None:
    alice.lab.run("virsh", "define", "/dev/stdin", input=FOREIGN)
    try:
        for command in (("start",), ("stop",), ("molt", "--yes"), ("delete", "--yes"), ("undo", "--yes")):
            done = alice.run(command[0], "doomed-foreign", *command[1:], code=3)
            assert "No clone is named 'doomed-foreign'" in done.stderr
        assert "shut off" in alice.lab.virsh("domstate", "doomed-foreign")
    finally:
        alice.lab.virsh("undefine", "doomed-foreign")


def test_cleanup_deletes_all_clones_of_a_golden_and_the_golden_is_deletable_only_then(
    alice: User, tiny: str, remove: Callable[[str], str]
) -> None:
    alice.run("golden", "build", "short-lived", "--image", f"volume:{image_of(alice)}")
    alice.run("create", "short-lived", remove("short-1"), "--no-start")
    alice.run("create", "short-lived", remove("short-2"), "--no-start")
    refused = alice.run("golden", "delete", "short-lived", "--yes", code=4)
    assert "short-1, short-2" in refused.stderr
    alice.run("cleanup", "short-lived", "--yes")
    alice.run("golden", "delete", "short-lived", "--yes")
    assert not [v for v in alice.lab.volumes() if v.startswith("short-")]
    assert not [d for d in alice.lab.domains() if d.startswith("short-")]


def image_of(user: User) -> str:
    """The uploaded base image of the tiny golden."""
    return next(v for v in user.lab.volumes() if v.startswith("image.") and v.endswith(".qcow2"))


def test_twenty_creates_at_once_get_twenty_addresses(alice: User, tiny: str, remove: Callable[[str], str]) -> None:
    names = [remove(f"many-{number}") for number in range(1, 21)]
    running = [alice.start("create", tiny, name, "--no-start") for name in names]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    addresses = {alice.clone(name)["ip"] for name in names}
    macs = {alice.lab.virsh("domiflist", name).split()[4] for name in names}
    uuids = {alice.lab.virsh("domuuid", name) for name in names}
    assert (len(addresses), len(macs), len(uuids)) == (20, 20, 20)
    alice.run("delete", "many-*", "--yes")


def test_a_full_clone_stands_alone(alice: User, tiny: str, remove: Callable[[str], str]) -> None:
    alice.run("create", tiny, remove("whole"), "--full", "--disk", "2G")
    info = alice.lab.out(
        "qemu-img", "info", "-U", "--output=json", "/var/lib/libvirt/images/moltfleet/whole.clean.qcow2"
    )
    assert "backing-filename" not in info
    alice.shell("whole", DIRTY)
    alice.run("molt", "whole", "--yes")
    assert alice.shell("whole", IS_CLEAN) == "clean"
    assert int(alice.shell("whole", "cat /sys/block/vda/size")) == 2 * 2**30 // 512


def test_a_clone_made_without_start_takes_its_clean_point_at_its_first_start(
    alice: User, tiny: str, remove: Callable[[str], str]
) -> None:
    alice.run("create", tiny, remove("later"), "--no-start", "--no-warm")
    refused = alice.run("molt", "later", "--yes", code=4)
    assert "no clean point" in refused.stderr
    alice.run("start", "later")
    assert alice.clone("later")["warm"] == "cold"
    alice.shell("later", DIRTY)
    assert alice.json("molt", "later", "--yes")["results"][0]["mode"] == "cold"
    assert alice.shell("later", IS_CLEAN) == "clean"


def test_exec_passes_output_and_exit_status_of_several_clones(
    alice: User, tiny: str, crab: str, remove: Callable[[str], str]
) -> None:
    alice.run("create", tiny, remove("cray"))
    done = alice.run("exec", "cra*", "--", "hostname; echo oops >&2; exit 7", code=7)
    assert sorted(done.stdout.splitlines()) == ["crab: crab", "cray: cray"]
    assert "crab: oops" in done.stderr
    assert alice.run("exec", crab, "--", "echo", "one  two").stdout == "one  two\n"


def test_ssh_passes_the_exit_status_through(alice: User, crab: str) -> None:
    done = alice.run("ssh", crab, "--", "exit 9", code=9)
    assert done.stdout == ""


def test_copy_goes_both_ways_with_directories(alice: User, crab: str) -> None:
    source = alice.write("tree/one file.txt", "eins\n")
    alice.write("tree/deep/two.txt", "zwei\n")
    home = source.removesuffix("/tree/one file.txt")
    alice.run("copy", f"{home}/tree", f"{crab}:")
    assert alice.shell(crab, "cat 'tree/one file.txt' tree/deep/two.txt") == "eins\nzwei"
    alice.run("copy", f"{crab}:tree", f"{home}/back")
    got = alice.lab.out("sh", "-c", f"cd {home}/back && find . -type f -exec cat {{}} +")
    assert sorted(got.split()) == ["eins", "zwei"]
