"""The Helm chart as helm renders it."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "tokenspeed"
HERE = Path(__file__).parent

Resource = dict[str, Any]

KEYS = {"auth": {"existingSecret": "keys"}}
SCENARIOS: dict[str, Resource] = {
    "least": KEYS,
    "trial": {"auth": {"keys": ["a-key-of-more-than-16", "another-key-of-16"]}},
    "insecure": {
        "auth": {"insecure": True},
        "networkPolicy": {"enabled": False},
        "serviceAccount": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "topologySpread": False,
    },
    "everything": {
        **KEYS,
        "nameOverride": "captions",
        "image": {"repository": "registry.example/tokenspeed", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
        "redis": {"enabled": True, "storageClass": "fast"},
        "publicUrl": "https://captions.example",
        "origins": ["https://a.example", "https://b.example"],
        "proxies": ["10.0.0.0/8", "fd00::/8"],
        "settings": {
            "TOKENSPEED_BUDGET_MS": 150,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.traces:4318",
        },
        "envFrom": [{"secretRef": {"name": "more"}}],
        "model": {"path": "/models/large", "existingClaim": "models"},
        "gpu": {"count": 2},
        "autoscaling": {"enabled": True},
        "service": {"annotations": {"a": "b"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboard": {"enabled": True},
        "ingress": {
            "enabled": True,
            "tlsSecret": "tls",
            "sticky": True,
            "annotations": {"a": "b"},
        },
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "egress": [{"ports": [{"port": 4318}]}],
        },
        "serviceAccount": {"annotations": {"a": "b"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "captions"},
        "nodeSelector": {"gpu": "h100"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    },
    "gateway": {
        **KEYS,
        "externalRedis": {"existingSecret": "redis"},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
    },
    "ray": {**KEYS, "kind": "RayService", "redis": {"enabled": True}},
    "ray on gpus": {
        **KEYS,
        "kind": "RayService",
        "externalRedis": {"existingSecret": "redis"},
        "gpu": {"count": 1},
        "ray": {"replicas": 3, "workers": 3, "maxWorkers": 3},
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "captions"},
        "podAnnotations": {"a": "b"},
        "envFrom": [{"secretRef": {"name": "more"}}],
        "ingress": {"enabled": True},
        "serviceMonitor": {"enabled": True, "key": {"secret": "for-prometheus"}},
        "networkPolicy": {
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
        },
    },
}


def helm(*arguments: str, values: Resource | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart with values, without a cluster."""
    own = HERE / "node_modules" / ".bin" / "helm"
    program = shutil.which("helm") or (str(own) if own.is_file() else None)
    assert program, "run tests/install_helm.sh"
    return subprocess.run(
        [program, *arguments, "--values", "-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        timeout=100,
    )


def rendered(values: Resource) -> list[Resource]:
    """Return the resources that the chart makes of values."""
    ran = helm("template", "live", str(CHART), "--namespace", "captions", values=values)
    assert ran.returncode == 0, ran.stderr
    return [found for found in yaml.safe_load_all(ran.stdout) if found]


@cache
def scenario(name: str) -> list[Resource]:
    """Return the resources of a scenario; they are not to be changed."""
    return rendered(SCENARIOS[name])


def of_kind(resources: list[Resource], kind: str) -> Resource:
    """Return the one that is no part of Redis."""
    (found,) = [
        each
        for each in resources
        if each["kind"] == kind and each["metadata"]["name"].removesuffix("-redis") != "live"
        if not each["metadata"]["name"].endswith("-metrics")
    ]
    return found


def pods(resources: list[Resource]) -> list[Resource]:
    """Return the templates of all pods."""
    found = []
    for each in resources:
        if each["kind"] in ("Deployment", "StatefulSet"):
            found.append(each["spec"]["template"])
        elif each["kind"] == "RayService":
            cluster = each["spec"]["rayClusterConfig"]
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            found.extend(group["template"] for group in groups)
    return found


def environment(pod: Resource) -> dict[str, str]:
    """Return the variables of a pod; those of a Secret have a value that stands for it."""
    (container,) = pod["spec"]["containers"]
    return {each["name"]: each.get("value", "a-value-of-a-secret") for each in container["env"]}
