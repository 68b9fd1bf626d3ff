"""Bad input against the real thing: one line, a hint, the right exit code, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import IMAGES, Lab, User


@pytest.fixture
def unchanged(lab: Lab, tiny: str) -> Iterator[None]:
    """Nothing may have changed when the test is over."""
    before = lab.volumes(), lab.domains()
    yield
    assert (lab.volumes(), lab.domains()) == before


def brief(user: User, *arguments: str, code: int) -> str:
    """The one error line of a refused command."""
    done = user.run(*arguments, code=code)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", 2),
        ("x" * 200, 2),
        ("Not-A-Host", 2),
        ("a<b", 2),
        ('a"b', 2),
        ("a&b", 2),
        ("a'b", 2),
        ("../up", 2),
        ("tiny", 4),
    ],
)
def test_a_name_that_cannot_be_is_refused(alice: User, name: str, code: int) -> None:
    assert "ame" in brief(alice, "create", "tiny", name, code=code)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--memory", "0"), 2, "0"),
        (("--memory", "lots"), 2, "lots"),
        (("--memory", "8T"), 5, "more than the host has"),
        (("--disk", "1M"), 2, "smaller"),
        (("--vcpus", "0"), 2, ""),
        (("-n", "0"), 2, ""),
    ],
)
def test_a_size_that_cannot_be_is_refused(alice: User, options: tuple[str, ...], code: int, said: str) -> None:
    assert said in alice.run("create", "tiny", "sized", *options, code=code).stderr


@pytest.mark.usefixtures("unchanged")
def test_a_golden_that_does_not_exist_is_named(alice: User) -> None:
    assert "No golden is named 'unicorn'" in brief(alice, "create", "unicorn", code=3)


@pytest.mark.usefixtures("unchanged")
def test_an_image_that_is_no_disk_is_refused(alice: User) -> None:
    text = alice.write("notes.txt", "these are my notes\n" * 100)
    assert "is not a disk image" in brief(alice, "golden", "build", "bad", "--image", text, code=2)


@pytest.mark.usefixtures("unchanged")
def test_a_truncated_image_is_refused(alice: User) -> None:
    cut = alice.write("x/cut.qcow2", "")
    alice.lab.run("sh", "-c", f"head -c 10000000 {IMAGES}/tiny.qcow2 > {cut}", user=alice.name)
    assert "truncated" in brief(alice, "golden", "build", "bad", "--image", cut, code=2)


@pytest.mark.usefixtures("unchanged")
def test_a_wrong_checksum_is_refused(alice: User) -> None:
    image = str(IMAGES / "tiny.qcow2")
    error = brief(alice, "golden", "build", "bad", "--image", image, "--sha256", "0" * 64, code=7)
    assert "SHA-256" in error or "checksum" in error


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("content", ["- just\n- a list\n", "a: b: c\n", "#cloud-config\n{"])
def test_user_data_that_is_no_mapping_is_refused(alice: User, content: str) -> None:
    file = alice.write("bad.yaml", content)
    image = str(IMAGES / "tiny.qcow2")
    assert "bad.yaml" in brief(alice, "golden", "build", "bad", "--image", image, "--user-data", file, code=2)


@pytest.mark.usefixtures("unchanged")
def test_a_disk_smaller_than_the_image_is_refused(alice: User) -> None:
    image = str(IMAGES / "tiny.qcow2")
    assert "smaller" in brief(alice, "golden", "build", "bad", "--image", image, "--disk", "16M", code=2)


@pytest.mark.usefixtures("unchanged")
def test_a_script_that_fails_is_named_with_the_end_of_its_output(alice: User) -> None:
    script = alice.write("setup.sh", "#!/bin/sh\necho about to fail\nexit 3\n")
    image = str(IMAGES / "tiny.qcow2")
    done = alice.run("golden", "build", "bad", "--image", image, "--script", script, code=7)
    assert "setup.sh" in done.stderr
    assert "exit status 3" in done.stderr
    assert "about to fail" in done.stderr


@pytest.mark.usefixtures("unchanged")
def test_a_missing_required_command_is_named(alice: User) -> None:
    image = str(IMAGES / "tiny.qcow2")
    done = alice.run("golden", "build", "bad", "--image", image, "--require-command", "emacs", code=7)
    assert "command emacs is missing" in done.stderr


@pytest.mark.usefixtures("unchanged")
def test_a_script_that_gives_all_clones_one_identity_is_found_out(alice: User) -> None:
    line = "echo 0123456789abcdef0123456789abcdef > /etc/machine-id"
    script = alice.write("twins.sh", f"#!/bin/sh\nsed -i '2i {line}' /etc/init.d/start\n")
    image = str(IMAGES / "tiny.qcow2")
    done = alice.run("golden", "build", "bad", "--image", image, "--script", script, code=7)
    assert "is not sealed" in done.stderr
    assert "machine-id" in done.stderr


def test_an_unknown_config_key_is_refused_with_the_nearest(alice: User) -> None:
    file = alice.write("odd.toml", 'uri = "qemu:///system"\nreserv = "4G"\n')
    done = alice.run("--config", file, "list", code=2)
    assert "odd.toml:2" in done.stderr
    assert "'reserve'" in done.stderr


def test_a_destructive_command_without_a_terminal_needs_yes(alice: User, crab: str) -> None:
    for command in ("molt", "delete"):
        assert "--yes" in alice.run(command, crab, code=2).stderr
    assert alice.clone(crab)["state"] == "running"


def test_errors_are_json_on_request(alice: User) -> None:
    document = alice.json("start", "unicorn", code=3)
    assert document["schema"] == "moltfleet.error/1"
    assert document["error"]["code"] == "not-found"
