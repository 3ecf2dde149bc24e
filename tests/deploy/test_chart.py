"""The Helm chart: what helm makes of it is valid, safe, and speaks of settings that there are."""

import base64
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import yaml
from packaging.requirements import Requirement
from prometheus_client.parser import text_string_to_metric_families

import tokenspeed
from service.config import load_config
from service.doors.guard import WATCHERS
from service.load.metrics import Metrics
from service.tracing import LAST_S
from tests.deploy.chart import (
    CHART,
    HERE,
    KEYS,
    ROOT,
    SCENARIOS,
    Resource,
    environment,
    helm,
    of_kind,
    pods,
    rendered,
    scenario,
)
from tests.service.conftest import running
from tests.service.fakes import FakeEngine

OLDEST, NEWEST = "1.30", "1.37"
every_scenario = pytest.mark.parametrize("name", SCENARIOS)


@every_scenario
def test_helm_lint_finds_nothing(name: str) -> None:
    ran = helm("lint", "--strict", "--with-subcharts", str(CHART), values=SCENARIOS[name])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[WARNING]" not in ran.stdout


@cache
def check_core(text: str, version: str) -> None:
    """Hold a resource against Kubernetes' own schema; scenarios have most in common."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize(
    ("name", "version"), [*((name, NEWEST) for name in SCENARIOS), ("everything", OLDEST)]
)
def test_what_is_made_is_valid(name: str, version: str) -> None:
    for resource in scenario(name):
        if resource["kind"] == "RayService":
            template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}}
            for pod in pods([resource]):
                check_core(json.dumps({**template, "template": pod}), version)
        elif resource["kind"] not in ("HTTPRoute", "ServiceMonitor"):
            check_core(json.dumps(resource), version)


def problems_of(resources: list[Resource]) -> list[str]:
    ran = subprocess.run(
        ["node", "validate.mjs"],
        cwd=HERE,
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_custom_resources_are_valid_by_the_schemas_of_their_operators() -> None:
    found = [
        each
        for name in SCENARIOS
        for each in scenario(name)
        if each["kind"] in ("HTTPRoute", "ServiceMonitor")
    ]
    assert {each["kind"] for each in found} == {"HTTPRoute", "ServiceMonitor"}
    assert problems_of(found) == []
    # That a wrong one is found, too.
    route = next(each for each in found if each["kind"] == "HTTPRoute")
    wrong = json.loads(json.dumps(route).replace('"request": "0s"', '"request": "never"'))
    assert len(problems_of([wrong])) == 1


def test_prometheus_asks_one_proxy_of_ray_with_a_key() -> None:
    found = scenario("ray on gpus")
    (monitor,) = [each for each in found if each["kind"] == "ServiceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    key = {"name": "for-prometheus", "key": "api-key"}
    assert endpoint["authorization"] == {"credentials": key}
    (service,) = [each for each in found if each["metadata"]["name"].endswith("-metrics")]
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    (port,) = service["spec"]["ports"]
    assert port["name"] == endpoint["port"]
    asked = service["spec"]["selector"].items()
    head, *workers = pods(found)
    assert asked <= head["metadata"]["labels"].items()
    assert not any(asked <= each["metadata"]["labels"].items() for each in workers)
    assert port["targetPort"] in {each["name"] for each in head["spec"]["containers"][0]["ports"]}
    rules = of_kind(found, "NetworkPolicy")["spec"]["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}} in [
        peer
        for rule in rules
        for peer in rule.get("from", ())
        if {"port": 8000} in rule.get("ports", ())
    ]
    keyless = {**SCENARIOS["ray"], "serviceMonitor": {"enabled": True}}
    ran = helm("template", "live", str(CHART), values=keyless)
    assert ran.returncode != 0
    assert "serviceMonitor.key.secret" in ran.stderr


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith("ray")])
def test_a_ray_service_deploys_what_serve_takes(name: str) -> None:
    spec = of_kind(scenario(name), "RayService")["spec"]
    # By the reference of KubeRay's API, ray.io/v1.
    assert spec.keys() == {
        "upgradeStrategy",
        "rayClusterDeletionDelaySeconds",
        "serveConfigV2",
        "rayClusterConfig",
    }
    cluster = spec["rayClusterConfig"]
    assert cluster.keys() == {
        "rayVersion",
        "authOptions",
        "enableInTreeAutoscaling",
        "headGroupSpec",
        "workerGroupSpecs",
    }
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    (workers,) = cluster["workerGroupSpecs"]
    assert workers.keys() == {
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "rayStartParams",
        "template",
    }
    for group in (cluster["headGroupSpec"], workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())

    config = yaml.safe_load(spec["serveConfigV2"])
    # Imported here: Ray takes a second, which not all who collect tests should need.
    from ray.serve.schema import ServeDeploySchema

    from service.ray import OF_RAY, Arguments

    (application,) = ServeDeploySchema.model_validate(config).applications
    arguments = Arguments.model_validate(application.args)
    assert arguments.gpus_per_replica == SCENARIOS[name].get("gpu", {}).get("count", 0)
    # It is deploy/ray/serve.yaml, but for numbers and for secrets, which are the pods'.
    other = yaml.safe_load((ROOT / "deploy/ray/serve.yaml").read_text())
    del other["applications"][0]["runtime_env"]
    assert config["applications"][0].keys() == other["applications"][0].keys()
    assert config["applications"][0]["args"].keys() == other["applications"][0]["args"].keys()
    assert config["http_options"] == other["http_options"]
    # Its nodes have what a Ray that we start has.
    for group in (cluster["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        environment = {each["name"]: each.get("value") for each in container["env"]}
        assert OF_RAY.items() <= environment.items()


@every_scenario
def test_pods_have_no_more_rights_than_they_need(name: str) -> None:
    for pod in pods(scenario(name)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert not container["image"].endswith(":latest")
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounted.keys() == {v["name"] for v in spec["volumes"]} | (mounted.keys() & {"data"})
        assert mounted["tmp"] == "/tmp"
        if container["name"] != "ray-head":  # its sidecar asks for more workers
            assert spec["automountServiceAccountToken"] is False


@every_scenario
def test_a_pod_has_the_time_that_its_drain_takes(name: str) -> None:
    from service.ray import STOP_S  # as above

    for pod in pods(scenario(name)):
        variables = environment(pod)
        if "TOKENSPEED_DRAIN_S" not in variables:
            continue  # Redis
        (container,) = pod["spec"]["containers"]
        slept_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed_s = slept_s + float(variables["TOKENSPEED_DRAIN_S"]) + max(STOP_S, LAST_S)
        assert pod["spec"]["terminationGracePeriodSeconds"] > needed_s


@every_scenario
def test_the_service_takes_the_settings_of_its_pods(name: str) -> None:
    for pod in pods(scenario(name)):
        variables = environment(pod)
        if "TOKENSPEED_HOST" not in variables:
            continue  # Redis
        if variables.get("TOKENSPEED_REDIS_URL") == "a-value-of-a-secret":
            variables["TOKENSPEED_REDIS_URL"] = "redis://redis.example:6379/0"
        ours = {each for each in variables if each.startswith("TOKENSPEED_")}
        config = load_config(variables)
        config.check()
        told = ROOT / "service"
        known = "\n".join(path.read_text() for path in (told / "config.py", told / "cli.py"))
        for each in ours:
            assert each.removeprefix("TOKENSPEED_") in known
        values = SCENARIOS[name]
        gpus = values.get("gpu", {}).get("count", 0)
        assert config.device == {0: "auto", 1: "cuda", 2: "cuda:0,1"}[gpus]
        assert bool(config.redis_url) == ("redis" in values or "externalRedis" in values)
        assert config.is_insecure == values["auth"].get("insecure", False)
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        if pod["spec"]["containers"][0]["name"] != "ray-head":
            assert limits.get("nvidia.com/gpu", 0) == gpus


def test_probes_ask_what_the_service_answers() -> None:
    (pod,) = pods(scenario("least"))
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for kind in ("startup", "readiness", "liveness"):
        asked = container[f"{kind}Probe"]["httpGet"]
        assert asked["path"] in WATCHERS
        assert str(ports[asked["port"]]) == environment(pod)["TOKENSPEED_PORT"]
    assert str(ports["metrics"]) == environment(pod)["TOKENSPEED_METRICS_PORT"]


def test_probes_of_ray_find_out_whether_somebody_answers() -> None:
    with running(FakeEngine()) as service:
        for (container,) in (pod["spec"]["containers"] for pod in pods(scenario("ray on gpus"))):
            program, *arguments = container["readinessProbe"]["exec"]["command"]
            assert program == "python"
            code = [each for each in arguments if not each.startswith("http:")]
            urls = [each for each in arguments if each.startswith("http:")]
            assert len(urls) == 2
            for path, is_well in (("/livez", True), ("/nowhere", False)):
                asked = [sys.executable, *code, f"{service.http}/livez", service.http + path]
                ran = subprocess.run(asked, capture_output=True, timeout=100)
                assert (ran.returncode == 0) == is_well


def test_redis_of_the_chart_asks_for_its_password(tmp_path: Path) -> None:
    """Its script and its probe, with the Redis of this machine."""
    (pod,) = [each for each in pods(scenario("ray")) if "redis" in json.dumps(each["metadata"])][
        -1:
    ]
    (container,) = pod["spec"]["containers"]
    for name in ("server", "cli"):
        program = shutil.which(f"redis-{name}") or shutil.which(f"valkey-{name}")
        assert program, "run tests/install_redis.sh"
        (tmp_path / f"valkey-{name}").symlink_to(program)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (script,) = container["args"]
    script = script.replace("/tmp/", f"{tmp_path}/").replace("/data", str(tmp_path))
    script = script.replace("requirepass", f"port {port}\\nbind 127.0.0.1\\nrequirepass")
    probe = container["readinessProbe"]["exec"]["command"][-1]
    probe = probe.replace("valkey-cli", f"valkey-cli -p {port}")
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PASSWORD": "a-password-of-a-secret"}

    def is_ready(**wrong: str) -> bool:
        return subprocess.run(["sh", "-c", probe], env=variables | wrong).returncode == 0

    server = subprocess.Popen([*container["command"], script], env=variables, stdout=-3)
    try:
        for _ in range(600):
            if is_ready():
                break
            assert server.poll() is None
            time.sleep(0.1)
        assert is_ready()
        assert not is_ready(PASSWORD="another")
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
        assert variables["PASSWORD"] not in " ".join(
            Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
        )
    finally:
        server.kill()
        server.wait(20)


def test_pods_reach_and_are_reached_by_what_they_need_alone() -> None:
    def policies(name: str) -> dict[str, Resource]:
        found = [each for each in scenario(name) if each["kind"] == "NetworkPolicy"]
        return {each["metadata"]["name"]: each["spec"] for each in found}

    def ports(rules: list[Resource]) -> set[int]:
        return {port["port"] for rule in rules for port in rule.get("ports", ())}

    assert policies("insecure") == {}
    (least,) = policies("least").values()
    assert (ports(least["ingress"]), ports(least["egress"])) == ({8000, 9090}, {53})
    whole = policies("everything")
    assert ports(whole["live-captions"]["egress"]) == {53, 6379, 4318}
    assert all(rule["from"] for rule in whole["live-captions"]["ingress"])
    assert ports(whole["live-redis"]["ingress"]) == {6379}
    assert whole["live-redis"]["egress"] == []
    # Workers that come and go are asked of the cluster; a fixed number is not.
    assert policies("ray").keys() - policies("ray on gpus").keys() == {
        "live-redis",
        "live-tokenspeed-head",
    }
    # Whom a policy lets in or out by its labels is there.
    for name in ("everything", "ray"):
        labels = [pod["metadata"]["labels"].items() for pod in pods(scenario(name))]
        for spec in policies(name).values():
            sides = [*spec.get("ingress", ()), *spec["egress"]]
            peers = [peer for rule in sides for peer in rule.get("from", rule.get("to", ()))]
            chosen = [peer["podSelector"] for peer in peers if peer.keys() == {"podSelector"}]
            for selector in (spec["podSelector"], *chosen):
                assert any(selector["matchLabels"].items() <= found for found in labels)


def test_keys_are_in_secrets_alone() -> None:
    key = "a-key-of-more-than-16"
    for name in SCENARIOS:
        shown = json.dumps([each for each in scenario(name) if each["kind"] != "Secret"])
        assert key not in shown
    (secret,) = [each for each in scenario("trial") if each["kind"] == "Secret"]
    assert base64.b64decode(secret["data"]["api-keys"]).decode() == f"{key},another-key-of-16"


def test_sockets_are_not_cut_by_what_stands_in_front() -> None:
    notes = of_kind(scenario("everything"), "Ingress")["metadata"]["annotations"]
    for name in ("read", "send"):
        assert int(notes[f"nginx.ingress.kubernetes.io/proxy-{name}-timeout"]) >= 60
    assert notes["nginx.ingress.kubernetes.io/proxy-http-version"] == "1.1"
    assert notes["nginx.ingress.kubernetes.io/affinity"] == "cookie"
    assert notes["nginx.ingress.kubernetes.io/session-cookie-secure"] == "true"
    others = of_kind(scenario("ray on gpus"), "Ingress")["metadata"]["annotations"]
    assert not any("cookie" in name for name in others)  # nobody gets one who did not ask for it
    (rule,) = of_kind(scenario("gateway"), "HTTPRoute")["spec"]["rules"]
    assert set(rule["timeouts"].values()) == {"0s"}


@every_scenario
def test_what_is_named_is_there(name: str) -> None:
    """Services that routes and scalers name are made here, or by KubeRay of a RayService."""
    resources = scenario(name)
    made = {(each["kind"], each["metadata"]["name"]) for each in resources}
    made |= {("Service", f"{n}-serve-svc") for kind, n in made if kind == "RayService"}
    for each in resources:
        if each["kind"] == "Ingress":
            (path,) = each["spec"]["rules"][0]["http"]["paths"]
            assert ("Service", path["backend"]["service"]["name"]) in made
        if each["kind"] == "HTTPRoute":
            (backend,) = each["spec"]["rules"][0]["backendRefs"]
            assert ("Service", backend["name"]) in made
        if each["kind"] == "HorizontalPodAutoscaler":
            assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in made
    labels = [pod["metadata"]["labels"].items() for pod in pods(resources)]
    for each in resources:
        selector = each["spec"].get("selector", {}) if "spec" in each else {}
        selector = selector.get("matchLabels", selector)
        if each["kind"] in ("Service", "Deployment", "StatefulSet", "PodDisruptionBudget"):
            chosen = [found for found in labels if selector.items() <= found]
            assert len(chosen) == 1, each["metadata"]["name"]


# ---- what is watched ----


@pytest.fixture(scope="module")
def metrics_told() -> dict[str, set[str]]:
    """Each name that /metrics has, with its labels."""
    with running(FakeEngine()) as service:
        metrics = service.state.metrics
        metrics.gauge("tokenspeed_event_loop_tasks", "as service/start.py has it", float)
        return names_of(metrics)


def names_of(metrics: Metrics) -> dict[str, set[str]]:
    # Series with labels show up once there is something to count.
    for label in (metrics.closed, metrics.refused, metrics.connections_refused, metrics.errors):
        label.labels("x")
    for pair in (metrics.updates, metrics.update_seconds, metrics.tokens):
        pair.labels("x", "y", "z")
    for each in (metrics.queue_seconds, metrics.superseded, metrics.faults, metrics.requests):
        each.labels("x", "y")
    metrics.coalesced.labels("x")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def selectors(expression: Any) -> list[Any]:
    """Return the vectors that an expression reads."""
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    if isinstance(expression, promql_parser.MatrixSelector):
        return [expression.vector_selector]
    found = []
    for name in ("expr", "lhs", "rhs", "args"):
        child = getattr(expression, name, None)
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                found.extend(selectors(each))
    return found


# Labels that Prometheus adds, and the one that a scrape has where it answers for all of Ray's.
DISCOVERED = {"namespace", "pod", "replica"}


def test_the_dashboard_reads_metrics_that_there_are(metrics_told: dict[str, set[str]]) -> None:
    metrics = metrics_told
    dashboard = json.loads((CHART / "dashboards" / "tokenspeed.json").read_text())
    expressions = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ())]
    read: set[str] = set()
    for text in expressions:
        expression = promql_parser.parse(text.replace("$__rate_interval", "5m"))
        found = selectors(expression)
        assert found, text
        for vector in found:
            assert vector.name in metrics, vector.name
            read.add(vector.name)
            asked = {matcher.name for matcher in vector.matchers.matchers}
            assert asked - DISCOVERED <= metrics[vector.name], text
        legends = set(re.findall(r"by \(([^)]*)\)", text))
        grouped = {label.strip() for each in legends for label in each.split(",")}
        available = DISCOVERED.union(*(metrics[vector.name] for vector in found))
        assert grouped <= available, text
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = ",".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
            assert all(label in kept for label in shown), target
    for variable in dashboard["templating"]["list"][1:]:
        (name,) = re.findall(r"label_values\((\w+)", variable["query"])
        assert name in metrics
    # Nothing is measured that nobody sees.
    plain = {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in metrics}
    seen = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in read}
    assert plain - seen == {
        "tokenspeed_engine_read_bandwidth_bytes_per_second",  # bandwidth_share is of it
        "tokenspeed_engine_weight_bytes_read",
    }


def test_panels_of_the_dashboard_do_not_lie_on_each_other() -> None:
    dashboard = json.loads((CHART / "dashboards" / "tokenspeed.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        own = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not own & taken, panel["title"]
        assert max(x for x, _ in own) < 24
        taken |= own
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_arrives_as_it_is() -> None:
    (found,) = [each for each in scenario("everything") if each["kind"] == "ConfigMap"]
    assert found["data"]["tokenspeed.json"] == (CHART / "dashboards/tokenspeed.json").read_text()


def test_autoscaling_follows_a_metric_that_there_is(metrics_told: dict[str, set[str]]) -> None:
    (metric,) = of_kind(scenario("everything"), "HorizontalPodAutoscaler")["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in metrics_told
    assert "replicas" not in of_kind(scenario("everything"), "Deployment")["spec"]
    # The rule for the adapter, as the documentation has it, names the same.
    told = (ROOT / "deploy" / "README.md").read_text()
    (rule,) = re.findall(r"```yaml\n(rules:\n.*?)```", told, re.DOTALL)
    (only,) = yaml.safe_load(rule)["rules"]
    assert only["seriesQuery"].startswith(name)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "auth.existingSecret is needed"),
        ({"auth": {"keys": ["short"]}}, "auth"),
        ({**KEYS, "repliccas": 3}, "repliccas"),
        ({**KEYS, "replicas": "many"}, "replicas"),
        ({**KEYS, "kind": "DaemonSet"}, "kind"),
        ({**KEYS, "image": {"digest": "sha256:abc"}}, "digest"),
        ({**KEYS, "gpu": {"count": -1}}, "gpu"),
        ({**KEYS, "metricsPort": 8000}, "metricsPort"),
        ({**KEYS, "proxies": ["everybody"]}, "proxies"),
        ({**KEYS, "settings": {"TOKENSPEED_PORT": "1"}}, "TOKENSPEED_PORT"),
        ({**KEYS, "settings": {"PATH": "/tmp"}}, "PATH"),
        ({**KEYS, "drainSeconds": -1}, "drainSeconds"),
        ({**KEYS, "autoscaling": {"minReplicas": 9, "maxReplicas": 3}}, "autoscaling.minReplicas"),
        ({**KEYS, "ray": {"replicas": "some"}}, "replicas"),
        (
            {**KEYS, "redis": {"enabled": True}, "externalRedis": {"existingSecret": "x"}},
            "there is one Redis",
        ),
        ({**KEYS, "httpRoute": {"enabled": True}}, "httpRoute.parentRefs is needed"),
        (
            {
                **KEYS,
                "ingress": {"enabled": True},
                "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
            },
            "take one",
        ),
    ],
)
def test_values_that_cannot_be_meant_are_refused_by_name(values: Resource, told: str) -> None:
    ran = helm("template", "live", str(CHART), values=values)
    assert ran.returncode != 0
    assert told in ran.stderr


def test_an_older_kubernetes_is_refused_and_versions_are_those_of_the_package() -> None:
    for version, is_taken in (("1.29.9", False), ("1.30.0", True)):
        ran = helm("template", "live", str(CHART), "--kube-version", version, values=KEYS)
        assert (ran.returncode == 0) == is_taken
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == tokenspeed.__version__
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (wanted,) = [Requirement(each) for each in extras["ray"] if each.startswith("ray[")]
    assert values["ray"]["version"] in wanted.specifier


def leaves(values: Resource, path: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        own = f"{path}.{name}"
        found += leaves(value, own) if isinstance(value, dict) and value else [own]
    return found


def test_each_value_is_described_and_used() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(values)
    templates = "\n".join(path.read_text() for path in CHART.rglob("templates/*"))
    whole = (".resources", ".ray.headResources", ".dashboard.labels", ".redis.resources")
    for path in leaves(values):
        name = next((each for each in whole if path.startswith(each)), path)
        first, *rest = name.removeprefix(".").split(".")
        # Parts of the subchart have their own root; two groups have a name in the templates.
        forms = [rf"\.Values{re.escape(name)}", rf"\${first}\.{'.'.join(rest)}"]
        if first == "redis":
            forms.append(rf"\.Values\.{'.'.join(rest)}")
        assert any(re.search(rf"{form}\b", templates) for form in forms), path
    own = yaml.safe_load((CHART / "charts/redis/values.yaml").read_text())
    assert own.keys() == values["redis"].keys()
    assert own["image"] == values["redis"]["image"]


def test_a_release_of_any_name_has_names_that_fit() -> None:
    for name in ("a", "tokenspeed", "x" * 53):
        ran = helm("template", name, str(CHART), values={**KEYS, "redis": {"enabled": True}})
        assert ran.returncode == 0, ran.stderr
        for resource in yaml.safe_load_all(ran.stdout):
            assert len(resource["metadata"]["name"]) <= 63


def test_notes_warn_of_what_will_not_work() -> None:
    def notes(values: Resource) -> str:
        ran = helm("install", "live", str(CHART), "--dry-run=client", values=values)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split("NOTES:")[1]

    assert "without Redis" in notes(KEYS)
    whole = notes(SCENARIOS["everything"])
    assert "WARNING" not in whole
    assert "custom metrics API" in whole
    assert "networkPolicy.egress" in notes(SCENARIOS["gateway"])
    assert "without a key (auth.insecure)" in notes(SCENARIOS["insecure"])
    assert "serve-svc" in notes(SCENARIOS["ray"])


def test_a_new_value_of_a_key_makes_new_pods() -> None:
    def checksum(key: str) -> str:
        (pod,) = pods(rendered({"auth": {"keys": [key]}}))
        return pod["metadata"]["annotations"]["checksum/keys"]

    assert checksum("a-key-of-more-than-16") != checksum("another-key-of-16")
