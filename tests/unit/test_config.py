"""moltfleet.toml: where it is found, what it may say, and what is said about mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.config import Config, find_file, load_config
from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import ExitCode, InvalidInput
from moltfleet.model.size import Size


def written(directory: Path, text: str) -> Path:
    path = directory / "moltfleet.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def loaded(directory: Path, text: str) -> Config:
    return load_config(written(directory, text), uri=None, environment={})


def refused(directory: Path, text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        loaded(directory, text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in caught.value.brief
    return caught.value


def test_without_a_file_the_documented_defaults_hold(tmp_path: Path) -> None:
    config = load_config(None, uri=None, environment={"HOME": str(tmp_path)})
    assert config == Config()
    assert config.uri == "qemu:///system"
    assert config.defaults.memory == Size.of_mib(16384)
    assert (config.defaults.vcpus, config.defaults.disk, config.defaults.user) == (4, Size.of_gib(50), "agent")
    assert config.reserve == Size.of_gib(10)
    assert config.pool_path == Path("/var/lib/libvirt/images/moltfleet")
    assert config.subnets[:2] == ("192.168.150.0/24", "192.168.151.0/24")
    assert 2 <= config.jobs <= 4


def test_every_documented_key_is_read(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        uri = "qemu:///system"
        pool = "p"
        pool_path = "/srv/p"
        network = "default"
        subnets = ["10.9.8.0/24"]
        reserve = 2048
        host_memory = "48G"
        disk_growth = "3G"
        virt_type = "qemu"
        emulation_factor = 2
        egress = "none"
        authorized_keys = ["~/.ssh/me.pub"]
        jobs = 3
        shed_hours = 0.5
        [defaults]
        memory = "1.5G"
        vcpus = 2
        disk = "10G"
        user = "dev"
        profile = "minimal"
        golden = "base"
        [timeouts]
        ssh = 7
        [images.mine]
        url = "https://example.org/a.qcow2"
        sha256 = "%s"
        """
        % ("0" * 64),
    )
    assert (config.pool, config.pool_path, config.network) == ("p", Path("/srv/p"), "default")
    assert (config.reserve, config.virt_type, config.egress) == (Size.of_gib(2), "qemu", "none")
    assert (config.host_memory, config.disk_growth) == (Size.of_gib(48), Size.of_gib(3))
    assert (config.jobs, config.shed_hours, config.authorized_keys) == (3, 0.5, ("~/.ssh/me.pub",))
    assert (config.defaults.memory, config.defaults.golden) == (Size.of_mib(1536), "base")
    assert (config.timeouts.ssh, config.timeouts.domain) == (7, 30)
    assert config.catalogue == {"mine": CatalogueEntry("https://example.org/a.qcow2", sha256="0" * 64)}


def test_the_option_wins_over_the_variable_and_the_variable_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'uri = "qemu:///file"')
    environment = {"LIBVIRT_DEFAULT_URI": "qemu:///variable"}
    assert load_config(path, uri=None, environment={}).uri == "qemu:///file"
    assert load_config(path, uri=None, environment=environment).uri == "qemu:///variable"
    assert load_config(path, uri="qemu:///option", environment=environment).uri == "qemu:///option"


def test_files_are_looked_for_in_the_documented_order(tmp_path: Path) -> None:
    option = written(tmp_path / "option", "")
    variable = written(tmp_path / "variable", "")
    users = written(tmp_path / "xdg" / "moltfleet", "")
    home = written(tmp_path / "home" / ".config" / "moltfleet", "")
    environment = {"HOME": str(tmp_path / "home")}
    assert find_file(None, environment=environment) == home
    environment["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert find_file(None, environment=environment) == users
    environment["MOLTFLEET_CONFIG"] = str(variable)
    assert find_file(None, environment=environment) == variable
    assert find_file(option, environment=environment) == option


@pytest.mark.parametrize("asked", ["option", "variable"])
def test_a_file_that_was_asked_for_must_exist(tmp_path: Path, asked: str) -> None:
    missing = tmp_path / "none.toml"
    option = missing if asked == "option" else None
    with pytest.raises(InvalidInput, match=r"Config file .*none\.toml' does not exist"):
        find_file(option, environment={"MOLTFLEET_CONFIG": str(missing)} if asked == "variable" else {})


def test_a_session_gets_a_pool_and_a_network_that_need_no_privilege(tmp_path: Path) -> None:
    session = load_config(None, uri="qemu:///session", environment={"HOME": str(tmp_path)})
    assert session.is_session
    assert session.network == "user"
    assert session.pool_path == Path.home() / ".local/share/moltfleet/pool"
    chosen = loaded(tmp_path, 'uri = "qemu:///session"\nnetwork = "default"\npool_path = "~/p"')
    assert (chosen.network, chosen.pool_path) == ("default", Path.home() / "p")


@pytest.mark.parametrize(
    ("text", "brief", "hint"),
    [
        ("\n[defaults]\nmemroy = 3", ":3: key 'defaults.memroy' is unknown", "nearest known key is 'defaults.memory'"),
        ("[timeout]\nssh = 1", ":1: key 'timeout' is unknown", "nearest known key is 'timeouts'"),
        ("memory = 1", ":1: key 'memory' is unknown", "belongs under [defaults]"),
        ("jobs = 1\nxyzzy = 1", ":2: key 'xyzzy' is unknown", "Known keys: authorized_keys, defaults"),
        ("[images.foo]\nurll = 'x'", ":2: key 'images.foo.urll' is unknown", "'images.foo.url'"),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_the_key_that_was_meant(
    tmp_path: Path, text: str, brief: str, hint: str
) -> None:
    error = refused(tmp_path, text)
    assert error.brief.endswith(brief)
    assert error.hint is not None
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "brief"),
    [
        ("x =", "is not TOML: Invalid value (at end of document)"),
        ("[defaults]\nvcpus = 0", ":2: defaults.vcpus: input should be greater than or equal to 1"),
        ("[defaults]\nvcpus = true", ":2: defaults.vcpus: input should be a valid integer"),
        ("reserve = 'lots'", ":1: reserve: size 'lots' is not a number with an optional K, M, G or T"),
        ("defaults.memory = 0", ":1: defaults.memory: size '0' is not a usable amount"),
        ("reserve = [1]", ":1: reserve: is not a size such as 12G"),
        ("subnets = ['1.2.3.0/25']", ":1: subnets: 1.2.3.0/25 is not a /24 network"),
        ("virt_type = 'xen'", ":1: virt_type: input should be 'auto', 'kvm' or 'qemu'"),
        ("[defaults]\nuser = 'Root\\u001b'", ":2: defaults.user: 'Root\\\\u001b' is not usable here"),
        ("timeouts.ssh = inf", ":1: timeouts.ssh: input should be a finite number"),
        ("pool_path = 'x'", ":1: pool_path: is not an absolute path"),
        ("defaults = 3", ":1: defaults: is not a table"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_file_line_and_key(tmp_path: Path, text: str, brief: str) -> None:
    error = refused(tmp_path, text)
    assert error.brief.startswith((f"{tmp_path}/moltfleet.toml", f"Config file '{tmp_path}"))
    assert error.brief.endswith(brief)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "moltfleet.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="is not UTF-8 text"):
        load_config(path, uri=None, environment={})


def test_emulation_stretches_every_deadline() -> None:
    timeouts = Config().timeouts
    stretched = timeouts.scaled(4)
    assert all(getattr(stretched, name) == 4 * getattr(timeouts, name) for name in type(timeouts).model_fields)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_text_whatsoever_leads_to_anything_but_a_config_or_one_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "moltfleet.toml"
        path.write_text(text)
        try:
            assert isinstance(load_config(path, uri=None, environment={}), Config)
        except InvalidInput as error:
            assert "\n" not in error.brief


def test_the_policy_is_read_and_handed_on_in_seconds_and_shares(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        notify = "notify-send 'A clone'"

        [policy]
        horizon_minutes = 60
        critical_minutes = 10
        leaking_percent = 70
        critical_percent = 90
        cooldown_minutes = 30
        quiet_hours = ["09:00-12:00", "22:00-06:00"]
        busy_percent = 10
        busy_minutes = 2
        pool_percent = 8
        restart = false
        guest_seconds = 20
        """,
    )
    rules = config.policy.rules()
    assert (rules.horizon_s, rules.critical_s, rules.cooldown_s, rules.busy_s) == (3600, 600, 1800, 120)
    assert (rules.leaking_share, rules.critical_share, rules.busy_share, rules.pool_share) == (0.7, 0.9, 0.1, 0.08)
    assert [str(hours) for hours in rules.quiet] == ["09:00-12:00", "22:00-06:00"]
    assert (rules.restart, rules.guest_s, config.notify) == (False, 20, "notify-send 'A clone'")


def test_without_a_word_the_policy_is_that_of_the_model() -> None:
    from moltfleet.model.policy import Policy

    assert Config().policy.rules() == Policy()


@pytest.mark.parametrize(
    ("text", "brief"),
    [
        ("[policy]\nquiet_hours = ['9-17']", "policy.quiet_hours: hours '9-17' are not such as 22:00-06:30"),
        ("[policy]\nhorizon_minutes = 5", "policy: critical_minutes is more than horizon_minutes"),
        ("[policy]\nleaking_percent = 99", "policy: critical_percent is less than leaking_percent"),
        ("[policy]\nbusy_percent = 'much'", "policy.busy_percent: "),
        ('notify = "it\'s"', "notify: is no command line: No closing quotation"),
        ("restart = true", "key 'restart' is unknown"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path, text: str, brief: str) -> None:
    assert brief in refused(tmp_path, text).brief
