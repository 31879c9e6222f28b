"""Alerts and the dashboard, checked by a real Prometheus that scrapes the running service."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.support.running import free_port
from rqrec.client import Client, ProblemError
from rqrec.service.outcomes.trial_metrics import TrialMetrics
from rqrec.service.telemetry import Metrics
from rqrec.service.users.metrics import UserMetrics
from tests.service.conftest import Served, until

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "rqrec.json").read_text())
QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
NEEDS_PROMETHEUS = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus is not installed (apt-get install prometheus)",
)
SCRAPED = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: rqrec
    static_configs: [{{targets: ["{target}"]}}]
"""


def names(expression: str) -> set[str]:
    found = set(re.findall(r"\b(?:rqrec|process)_\w+", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def test_alerts_and_panels_ask_for_metrics_that_are_there() -> None:
    registry = Metrics().registry
    UserMetrics(registry, ["view"])
    TrialMetrics(registry)
    there = {family.name for family in registry.collect()}
    there |= {f"{name}_total" for name in there} | {f"{name}_info" for name in there}
    asked = set.union(*map(names, [*QUERIES.values(), *(rule["expr"] for rule in RULES)]))
    assert asked - there == set()


def test_every_alert_is_in_the_operators_page() -> None:
    page = (DEPLOY.parent / "docs" / "operating.md").read_text()
    missing = [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in page]
    assert missing == []


@NEEDS_PROMETHEUS
def test_promtool_accepts_the_configuration_and_the_alerts() -> None:
    config = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", str(config)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@NEEDS_PROMETHEUS
def test_every_alert_fires_over_what_it_is_for(tmp_path: Path) -> None:
    tests = Path(__file__).with_name("alerts_test.yml").read_text()
    assert all(f"alertname: {rule['alert']}\n" in tests for rule in RULES)
    file = tmp_path / "alerts_test.yml"
    file.write_text(tests.replace("ALERTS", str(DEPLOY / "prometheus" / "alerts.yml")))
    done = subprocess.run(["promtool", "test", "rules", str(file)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def prometheus(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Prometheus, which has scraped a service that did something of everything."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = folder / "prometheus.yml"
    config.write_text(SCRAPED.format(target=served.url.removeprefix("http://")))
    address = f"127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}") as client:

            def is_ready() -> bool:
                try:
                    return client.get("/-/ready").is_success
                except httpx.TransportError:
                    return False

            until(is_ready)
            with Client(served.url, token=served.token) as service:
                service.activate("others", part="shadow")
                for number in range(40):
                    service.recommend(["1", "71"] if number % 4 else [])
                    service.recommend(["nope", "116"], k=30, filter={"genres": {"any_of": ["Horror"]}})
                    service.put_item("new", {"genres": ["Horror"]})
                    unseen = [f"{number}-{value}" for value in range(10_000)]  # takes longer than the time given
                    with pytest.raises(ProblemError):
                        service.recommend(["1", "71"], timeout_ms=1, filter={"item_id": {"any_of": unseen}})
                    with pytest.raises(ProblemError):
                        service.activate("none")
                    time.sleep(0.05)
                service.activate("others", part="canary", percent=50)
                for number in range(10):
                    service.recommend(["1", "71"], user_id=str(number), surface="home")
                time.sleep(1)  # until the lists are counted, shown as metrics and scraped
            yield client
    finally:
        process.terminate()
        process.wait()


@NEEDS_PROMETHEUS
@pytest.mark.parametrize("query", QUERIES)
def test_every_panel_has_something_to_show(prometheus: httpx.Client, query: str) -> None:
    reply = prometheus.get("/api/v1/query", params={"query": QUERIES[query]}).json()
    assert reply["status"] == "success", reply
    assert reply["data"]["result"], QUERIES[query]


@NEEDS_PROMETHEUS
@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_no_alert_fires_over_nothing(prometheus: httpx.Client, rule: dict[str, str]) -> None:
    reply = prometheus.get("/api/v1/query", params={"query": rule["expr"]}).json()
    assert reply["status"] == "success", reply
    firing = [] if rule["alert"] in {"RqrecSlow"} else reply["data"]["result"]
    assert firing == []
