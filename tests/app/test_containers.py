"""What lies in docker/ fits the code: metrics, settings, paths, files."""

import json
import re
import tomllib
from collections.abc import Iterator
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.errors import STATUS_AND_TYPE
from app.settings import Settings
from tests.app.conftest import ITEMS, SEARCH, client_of
from tests.fakes import FakeEncoder

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "sightline.json").read_text())
RULES = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
MANIFEST = (DOCKER / "kubernetes" / "sightline.yaml").read_text()
MANIFESTS = {one["kind"]: one for one in yaml.safe_load_all(MANIFEST)}
CHART = DOCKER / "helm"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = "".join(file.read_text() for file in sorted((CHART / "templates").iterdir()))
DOCKERFILES = [DOCKER / "Dockerfile", DOCKER / "Dockerfile.gpu"]

TARGETS = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
METRIC = re.compile(r"\b((?:sightline|process)_\w+)(?:\{([^}]*)\})?")
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that it adds itself, and those of histograms."""


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each metric that a server tells, once it has done a little of everything."""
    with client_of(Settings(data_dir=tmp_path_factory.mktemp("data")), FakeEncoder()) as client:
        return labels_of(client)


def labels_of(client: TestClient) -> dict[str, set[str]]:
    client.put(f"{ITEMS}/a", json={"text": "red", "metadata": {"size": 1}})
    client.post(SEARCH, json={"query": "red", "filter": {"size": 1}})
    client.get(f"{ITEMS}/nobody")
    job = client.post("/v1/collections/default/ingest", files={"file": ("rows.csv", b"id,text\nb,blue\n")}).json()
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        events.read()
    client.app_state["resources"].batches.observe("text", "interactive", 1, [0.1])  # which the fake encoder has none of
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize("expression", [one["expr"] for one in (*TARGETS, *RULES)])
def test_what_is_drawn_and_alerted_is_told_by_a_server(expression: str, exposed: dict[str, set[str]]) -> None:
    metrics = METRIC.findall(expression)
    assert metrics or "up{" in expression
    for name, selector in metrics:
        selected = set(re.findall(r"(\w+)\s*=", selector))
        grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(",")}
        assert (selected | grouped) - OF_PROMETHEUS <= exposed[name]


@pytest.mark.parametrize("drawn", TARGETS, ids=lambda target: target["expr"])
def test_legends_name_labels_that_are_left(drawn: dict[str, str], exposed: dict[str, set[str]]) -> None:
    shown = set(re.findall(r"{{(\w+)}}", drawn["legendFormat"]))
    grouped = re.findall(r"by \(([^)]*)\)", drawn["expr"])
    [name, *_] = [name for name, _ in METRIC.findall(drawn["expr"])]

    assert shown <= ({label.strip() for label in grouped[0].split(",")} if grouped else exposed[name])


def test_every_alert_says_what_it_means() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_alerts_on_problems_name_types_that_there_are() -> None:
    named = re.findall(r'sightline_problems_total\{type="([^"]+)"', json.dumps(RULES).replace('\\"', '"'))
    assert named
    assert set(named) <= {word for _, word in STATUS_AND_TYPE.values()}


def environments() -> Iterator[tuple[str, str]]:
    yield from (("compose", variable) for variable in COMPOSE["x-sightline"]["environment"])
    [container] = MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    yield from (("kubernetes", variable["name"]) for variable in container["env"])
    for file in DOCKERFILES:
        yield from ((file.name, variable) for variable in re.findall(r"\b(SIGHTLINE_\w+)=", file.read_text()))


def test_every_variable_that_is_set_is_a_setting() -> None:
    found = list(environments())
    assert {where for where, _ in found} == {"compose", "kubernetes", "Dockerfile", "Dockerfile.gpu"}
    for where, variable in found:
        assert variable.removeprefix("SIGHTLINE_").lower() in Settings.model_fields, where


def test_probes_ask_for_paths_that_there_are_on_the_port_that_is_served(client: TestClient) -> None:
    [container] = MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [Settings.model_fields["port"].default]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
    assert probes == ["/readyz", "/readyz", "/healthz"]
    assert {client.get(path).status_code for path in probes} == {200}
    for file in DOCKERFILES:
        assert "http://127.0.0.1:8000/readyz" in file.read_text()


def test_nobody_is_killed_before_the_server_has_stopped() -> None:
    pod = MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]
    values = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    takes = int(values["SIGHTLINE_SHUTDOWN_DELAY_S"]) + int(values["SIGHTLINE_SHUTDOWN_TIMEOUT_S"])
    assert pod["terminationGracePeriodSeconds"] > takes
    default = Settings.model_fields["shutdown_timeout_s"].default
    assert int(COMPOSE["x-sightline"]["stop_grace_period"].removesuffix("s")) > default


def test_there_is_one_writer_and_the_budget_and_the_service_find_it() -> None:
    pods = MANIFESTS["StatefulSet"]["spec"]
    labels = pods["template"]["metadata"]["labels"]
    assert pods["replicas"] == 1
    assert pods["selector"]["matchLabels"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service"]["spec"]["selector"] == labels


def test_no_variable_of_the_cluster_becomes_a_setting() -> None:
    assert MANIFESTS["StatefulSet"]["spec"]["template"]["spec"]["enableServiceLinks"] is False  # else SIGHTLINE_PORT


def test_the_manifest_is_the_chart() -> None:
    head, start, rest = MANIFEST.partition("---\n")
    files = sorted(str(file) for file in (*CHART.glob("*.*"), *CHART.glob("templates/*")))
    summed = sha256(b"".join(Path(file).read_bytes() for file in files) + (start + rest).encode())
    assert head.splitlines()[-1] == f"# {summed.hexdigest()}", "make manifest"


def test_the_chart_knows_all_settings_but_those_that_are_its_own() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    names = schema["properties"]["settings"]["propertyNames"]["enum"]
    assert {*names, "host", "port", "data_dir", "api_key"} == set(Settings.model_fields)
    assert len(names) == len(Settings.model_fields) - 4
    assert VALUES["settings"].keys() <= set(names)


def test_the_templates_use_every_value_that_there_is_and_no_other() -> None:
    used = set(re.findall(r"\.Values\.(\w+(?:\.\w+)*)", TEMPLATES))
    for path in used:
        reduce(lambda values, name: values[name], path.split("."), VALUES)
    assert {path.partition(".")[0] for path in used} == VALUES.keys()


def test_the_chart_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_is_made_of_files_that_there_are_and_runs_without_root(file: Path) -> None:
    lines = file.read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]]
    allowed = (ROOT / ".dockerignore").read_text()
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source.split('/')[0]}" in allowed
    assert "USER 10001" in lines
    assert "torch" not in (ROOT / next(source for source in copied if source.endswith(".txt"))).read_text()


def test_what_compose_mounts_is_there_and_the_service_is_confined() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]
    for mount in mounts:
        assert (
            (ROOT / mount).exists()
            if mount.startswith("./docker")
            else mount == "./catalogues" or mount in COMPOSE["volumes"]
        )
    for name in ("sightline", "sightline-gpu", "sightline-cluster"):
        service = services[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert (ROOT / service["build"]["dockerfile"]).exists()
    profiles = {profile for service in services.values() for profile in service.get("profiles", [])}
    assert profiles == {"cluster", "gpu", "observability"}


def test_prometheus_scrapes_the_server_by_the_name_it_has() -> None:
    config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    [scraped] = config["scrape_configs"]
    [target] = scraped["static_configs"][0]["targets"]
    assert target == f"{COMPOSE['x-sightline']['networks']['default']['aliases'][0]}:8000"
    assert scraped["authorization"]["credentials_file"] == COMPOSE["services"]["prometheus"]["configs"][0]["target"]
    assert config["rule_files"] == ["alerts.yml"]
    boards = yaml.safe_load((DOCKER / "grafana" / "provisioning" / "dashboards" / "sightline.yml").read_text())
    path = boards["providers"][0]["options"]["path"]
    assert f"./docker/grafana/dashboards:{path}:ro" in COMPOSE["services"]["grafana"]["volumes"]
