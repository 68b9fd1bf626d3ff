"""The way of a metric, all of it real: our file, node-exporter's textfile collector, Prometheus, the alert rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes import a_world
from fakes.metrics import a_clone_survey, a_fleet_in_numbers
from moltfleet.adapters.textfile import PrometheusText
from moltfleet.model.errors import InvalidInput, NotFound
from moltfleet.model.metrics import families
from moltfleet.model.nightly import LastNight, Outcome
from moltfleet.model.size import Size

MONITORING = Path(__file__).parents[2] / "docs/monitoring"
RULES, RULES_TEST = MONITORING / "moltfleet.rules.yaml", MONITORING / "moltfleet.rules-test.yaml"
NIGHT = LastNight("2026-11-20T03:30:00Z", None, Outcome.INTERRUPTED)
ENDED = LastNight("2026-11-20T03:30:00Z", "2026-11-20T03:40:00Z", Outcome.OK)


def promtool(*words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", *words], input=input, capture_output=True, timeout=60, check=False)


def test_promtool_finds_no_fault_with_the_text() -> None:
    text = PrometheusText().render(families(a_fleet_in_numbers(), NIGHT, "1.0"))
    assert b"moltfleet_clone_molts_total{" in text
    done = promtool("check", "metrics", input=text)
    assert (done.returncode, done.stderr) == (0, b"")


def test_promtool_finds_a_fault_with_a_text_that_has_one() -> None:
    assert promtool("check", "metrics", input=b"moltfleet_clone_molts 3\n").returncode != 0


def test_the_rules_are_sound_and_do_with_given_samples_what_they_are_to() -> None:
    assert promtool("check", "rules", str(RULES)).returncode == 0
    done = promtool("test", "rules", str(RULES_TEST))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    rules = yaml.safe_load(RULES.read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = [test for part in yaml.safe_load(RULES_TEST.read_text())["tests"] for test in part["alert_rule_test"]]
    assert {test["alertname"] for test in tests if test.get("exp_alerts")} == alerts
    assert {test["alertname"] for test in tests if not test.get("exp_alerts")} == alerts


@pytest.mark.parametrize(("limit", "other"), [("< 900", "< 9"), ("26 * 3600", "90 * 3600"), ('"down"', '"ok"')])
def test_the_test_of_the_rules_notices_a_rule_that_is_changed(tmp_path: Path, limit: str, other: str) -> None:
    text = RULES.read_text()
    assert limit in text
    (tmp_path / RULES.name).write_text(text.replace(limit, other))
    shutil.copy(RULES_TEST, tmp_path)
    assert promtool("test", "rules", str(tmp_path / RULES_TEST.name)).returncode != 0


def test_the_rules_ask_for_no_metric_that_nobody_writes() -> None:
    asked = set(re.findall(r"moltfleet_[a-z_]+", " ".join(expressions())))
    written = {family.name for family in families(everything(), NIGHT, "1.0")}
    assert asked - written == set()


def expressions() -> list[str]:
    rules = yaml.safe_load(RULES.read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def everything() -> Any:
    """Numbers in which nothing is missing: also the pool is going to be full."""
    numbers = a_fleet_in_numbers(records={"crab-1": a_world(clones=("crab-1",)).record("crab-1")})
    pool = replace(numbers.survey.pool, judgement=replace(numbers.survey.pool.judgement, seconds=600.0))
    return replace(numbers, survey=replace(numbers.survey, pool=pool))


# The chain


def test_the_file_goes_through_node_exporter_and_prometheus_and_alerts(tmp_path: Path) -> None:
    collected = tmp_path / "textfile"
    collected.mkdir()
    ill = replace(everything(), earlyoom_kills=3)
    text = PrometheusText()
    path = collected / "moltfleet.prom"
    text.check_place(path)
    text.write(path, text.render(families(ill, NIGHT, "1.0")))
    exporter_port, port = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}]}
                ],
            }
        )
    )
    exporter = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={collected}",
        f"--web.listen-address=127.0.0.1:{exporter_port}",
    ]
    prometheus = [
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with ExitStack() as stack:
        stack.enter_context(running(exporter, tmp_path / "exporter.log"))
        stack.enter_context(running(prometheus, tmp_path / "prometheus.log"))
        ask = lambda what: get(f"http://127.0.0.1:{port}/api/v1/{what}")  # noqa: E731
        wait_for(lambda: alerts(ask, "firing") >= {"MoltfleetHostKilledSomething", "MoltfleetNightFailed"})
        # What has to last for a while is on its way; each group of rules is looked at in its own second.
        wait_for(lambda: alerts(ask, "pending") >= {"MoltfleetCloneDown", "MoltfleetCloneLeaking", "MoltfleetPoolFull"})
        assert number(ask, "node_textfile_scrape_error") == 0
        assert number(ask, 'moltfleet_clone_last_molt_seconds{clone="crab-1",phase="restore"}') == 0.4
        well = a_fleet_in_numbers([a_clone_survey("crab-1"), a_clone_survey("crab-2")])
        good = LastNight("2026-11-20T03:30:00Z", "2026-11-20T03:40:00Z", Outcome.OK)
        text.write(path, text.render(families(well, good, "1.0")))
        calm = {"MoltfleetHostKilledSomething", "MoltfleetNightFailed", "MoltfleetCloneDown", "MoltfleetCloneLeaking"}
        wait_for(lambda: not alerts(ask, "firing", "pending") & calm)


def alerts(ask: Callable[[str], Any], *states: str) -> set[str]:
    found = ask("alerts")["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in found if alert["state"] in states}


def number(ask: Callable[[str], Any], query: str) -> float:
    (found,) = ask(f"query?query={urllib.request.quote(query)}")["data"]["result"]
    return float(found["value"][1])


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return json.load(answer)


def wait_for(done: Callable[[], bool], *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if done():
                return
        except OSError:
            pass
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(words: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(words, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.kill()


# The file


def test_a_file_that_no_collector_finds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        PrometheusText().check_place(tmp_path / "moltfleet.txt")
    with pytest.raises(NotFound):
        PrometheusText().check_place(tmp_path / "nowhere/moltfleet.prom")


def test_nobody_ever_sees_half_a_file_and_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    path = tmp_path / "moltfleet.prom"
    old, new = tmp_path / ".moltfleet.prom.abcdefgh", tmp_path / ".moltfleet.prom.ijklmnop"
    for leftover in (old, new):
        leftover.write_text("half")
    os.utime(old, (0, 0))
    PrometheusText().write(path, b"moltfleet_up 1\n")
    assert path.stat().st_mode & 0o777 == 0o644
    # Somebody may be writing the newer one.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [new.name, path.name]


def test_a_clone_of_any_name_stays_one_label() -> None:
    odd = a_fleet_in_numbers([a_clone_survey('a"b\\c\nd')])
    text = PrometheusText().render(families(odd, None, "1.0"))
    assert promtool("check", "metrics", input=text).returncode == 0
    assert b'clone="a\\"b\\\\c\\nd"' in text


def test_memory_is_told_exactly() -> None:
    text = PrometheusText().render(families(a_fleet_in_numbers(), None, "1.0")).decode()
    (line,) = [line for line in text.splitlines() if line.startswith("moltfleet_host_memory_bytes ")]
    assert float(line.split()[1]) == Size.of_gib(64).bytes


def test_the_page_lists_every_metric_with_its_labels_and_every_alert() -> None:
    page = (MONITORING / "README.md").read_text()
    listed = dict(re.findall(r"^\| `(moltfleet_\w+)` \| (.*?) ?\| ", page, re.MULTILINE))
    written = {f.name: ", ".join(f"`{label}`" for label in f.labels) for f in families(everything(), ENDED, "1.0")}
    assert listed == written
    rules = yaml.safe_load(RULES.read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| `(Moltfleet\w+)`", page, re.MULTILINE) == alerts
