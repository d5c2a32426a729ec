"""The objects for Kubernetes: rendered by kubectl, judged by the API's own schemas, a policy linter, and the config."""

import asyncio
import json
import re
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from enactord import __version__
from enactord.config.reader import load_config
from enactord.config.tables import Config
from tests.deploy.process import service
from tests.deploy.tools import ROOT, kustomize, run
from tests.servers.certificates import Authority
from tests.servers.dns_server import SECRET, free_port
from tests.tokens import write_tokens

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAY = FOLDER / "overlays" / "three-zones"
OLDEST = "1.27"
"""The oldest version that deploy/kubernetes/README.md names."""
OPERATOR = "monitoring.coreos.com/v1"
SECRETS = "/run/secrets/enactord"

ACCEPTED = {
    "PG-IMG-002": "which image is run, and by which digest, is put into the overlay by who builds it",
    "PG-IMG-004": "so is how it is pulled",
    "PG-WRK-005": "classes of priority are the cluster's own",
    "PG-WRK-007": "spread over zones and nodes by topologySpreadConstraints instead",
}
"""What the linter finds and is meant so."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def rendered() -> str:
    return kustomize(OVERLAY)


@pytest.fixture
def objects(rendered: str) -> dict[str, Object]:
    """The rendered objects by kind; each kind is there once."""
    found = [document for document in yaml.safe_load_all(rendered) if document]
    by_kind = {document["kind"]: document for document in found}
    assert len(by_kind) == len(found)
    return by_kind


@pytest.fixture
def config(tmp_path: Path, objects: Mapping[str, Object]) -> Config:
    """The config as an enactor in a pod reads it."""
    (text,) = objects["ConfigMap"]["data"].values()
    for name in named_secrets(text):
        (tmp_path / name).write_text(f"{SECRET}\n")
        if name.endswith("-ca.pem"):
            shutil.copy(Authority(tmp_path / "authority").ca, tmp_path / name)
        if name.endswith(".tokens"):
            write_tokens(tmp_path / name, alice="operator")
        (tmp_path / name).chmod(0o440)
    (tmp_path / "enactord.toml").write_text(text.replace(SECRETS, str(tmp_path)))
    return load_config(tmp_path / "enactord.toml")


def named_secrets(text: str) -> list[str]:
    return re.findall(rf'"{SECRETS}/([^"]+)"', text)


def pod(objects: Mapping[str, Object]) -> Object:
    spec: Object = objects["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def container(objects: Mapping[str, Object]) -> Object:
    (only,) = pod(objects)["containers"]
    found: Object = only
    return found


def judge(document: Object, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_the_api_takes_every_object(objects: Mapping[str, Object], version: str) -> None:
    """Strictly by the API's schema: a field that it does not know would be dropped without a word."""
    judged = [kind for kind, document in objects.items() if document["apiVersion"] != OPERATOR]
    for kind in judged:
        judge(objects[kind], version)
    assert {"StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Service", "ServiceAccount"} < set(judged)
    assert f"Kubernetes {OLDEST} or newer" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_a_field_that_the_api_does_not_know_is_found(objects: Mapping[str, Object]) -> None:
    """The test above can fail."""
    container(objects)["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        judge(objects["StatefulSet"], OLDEST)


def lint(text: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Return the level of the Pod Security Standards that is met, and each rule that is broken."""
    (folder / "objects.yaml").write_text(text)
    report = folder / "report.json"
    arguments = ["--level", "restricted", "--format", "json", "--output", str(report)]
    done = run("policy-guard", "scan", str(folder / "objects.yaml"), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    return found["compliant_level"], {one["rule_id"]: one["message"] for one in found["violations"]}


def test_policies_hold(rendered: str, tmp_path: Path) -> None:
    """Restricted by the Pod Security Standards; whatever else the linter finds has its reason above."""
    level, broken = lint(rendered, tmp_path)
    assert level == "restricted"
    assert {rule: message for rule, message in broken.items() if rule not in ACCEPTED} == {}
    assert sorted(broken) == sorted(ACCEPTED), "these no longer need to be in the list"


@pytest.mark.parametrize(
    ("held", "broken"),
    [
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        ("runAsNonRoot: true", "runAsNonRoot: false"),
        ("kind: PodDisruptionBudget", "kind: Other"),
    ],
)
def test_a_policy_that_is_broken_is_found(rendered: str, tmp_path: Path, held: str, broken: str) -> None:
    """The test above can fail."""
    assert held in rendered
    _, found = lint(rendered.replace(held, broken), tmp_path)
    assert set(found) - set(ACCEPTED)


def test_one_enactor_in_each_zone_and_one_is_moved_at_a_time(objects: Mapping[str, Object]) -> None:
    """A zone or a drain takes one of three."""
    labels = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selector = {"app.kubernetes.io/name": "enactord"}
    assert selector.items() <= labels.items()
    assert objects["StatefulSet"]["spec"]["replicas"] == 3
    spread = {one["topologyKey"]: one for one in pod(objects)["topologySpreadConstraints"]}
    assert set(spread) == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for one in spread.values():
        assert (one["maxSkew"], one["whenUnsatisfiable"]) == (1, "DoNotSchedule")
        assert one["labelSelector"]["matchLabels"] == selector
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    # An empty selector would mean every pod of the namespace.
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selector
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == selector
    assert objects["StatefulSet"]["spec"]["selector"]["matchLabels"] == selector
    assert objects["Service"]["spec"]["selector"] == selector


def test_the_config_is_accepted_and_fits_the_objects(config: Config, objects: Mapping[str, Object]) -> None:
    """Scope, ports, folders and secrets of the config are those of the pod around it."""
    assert config.warnings == ()
    assert config.enactor.scope == objects["Service"]["metadata"]["labels"]["scope"]
    (port,) = container(objects)["ports"]
    (listen,) = config.http.listen
    assert listen.port == port["containerPort"] == objects["Service"]["spec"]["ports"][0]["port"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container(objects)["volumeMounts"]}
    assert mounts["state"] == str(config.enactor.state_dir)
    assert mounts["secrets"] == SECRETS
    assert container(objects)["args"][-1] == f"{mounts['config']}/enactord.toml"
    volumes = {volume["name"]: volume for volume in pod(objects)["volumes"]}
    assert volumes["config"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440
    assert container(objects)["image"].endswith(f":{__version__}")


def test_secrets_are_files_that_the_documentation_has_made(objects: Mapping[str, Object]) -> None:
    """No secret stands in an object or the environment; the README has each one made that the config names."""
    (text,) = objects["ConfigMap"]["data"].values()
    told = re.findall(r"--from-file=(\S+)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(told) == sorted(named_secrets(text))
    assert "Secret" not in objects
    assert [one["name"] for one in container(objects)["env"]] == ["PYTHONFAULTHANDLER"]


def test_the_network_lets_through_what_the_config_names_and_no_more(
    config: Config, objects: Mapping[str, Object]
) -> None:
    """An address that is in one and not in the other is a mistake in either."""
    policy = objects["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    allowed = {
        f"{peer['ipBlock']['cidr'].removesuffix('/32')}:{port['port']}/{port['protocol']}"
        for rule in policy["egress"]
        for peer in rule["to"]
        for port in rule["ports"]
    }
    servers = {server for zone in config.zones for server in (*zone.own_servers, *zone.verify_servers)}
    needed = {f"{server}/{protocol}" for server in servers for protocol in ("TCP", "UDP")}
    needed |= {f"{host}/TCP" for host in config.store.url.removeprefix("etcd://").split(",")}
    assert allowed == needed
    (ingress,) = policy["ingress"]
    assert ingress["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert all(peer.get("namespaceSelector") for peer in ingress["from"])


def test_the_namespace_enforces_what_the_pods_keep(objects: Mapping[str, Object]) -> None:
    """The cluster refuses a pod that is less restricted."""
    labels = objects["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_prometheus_finds_the_enactors(objects: Mapping[str, Object]) -> None:
    """The alerts rely on the job's name and on the label `scope`."""
    monitor, target = objects["ServiceMonitor"], objects["Service"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= target["metadata"]["labels"].items()
    assert target["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "enactord"
    assert monitor["spec"]["targetLabels"] == ["scope"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (target["spec"]["ports"][0]["name"], "/metrics")
    groups = objects["PrometheusRule"]["spec"]["groups"]
    assert sum("alert" in rule for group in groups for rule in group["rules"]) > 20


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


async def test_no_probe_fails_because_a_dependency_is_away(tmp_path: Path, objects: Mapping[str, Object]) -> None:
    """Neither a store nor a DNS server that is gone gets an enactor killed or hidden."""
    http = free_port()
    (tmp_path / "tsig.secret").write_text(SECRET)
    (tmp_path / "enactord.toml").write_text(f"""
[enactor]
id = "e1"
scope = "test"
state_dir = "state"
[store]
url = "etcd://127.0.0.1:{free_port()}"
timeout_s = 0.5
[[zone]]
name = "example.test."
backend = "rfc2136"
server = "127.0.0.1:{free_port()}"
tsig_name = "enactor"
tsig_secret_file = "tsig.secret"
timeout_s = 0.5
[http]
listen = "127.0.0.1:{http}"
""")
    async with service(tmp_path / "enactord.toml") as enactor:
        await enactor.until(lambda: "degraded: store" in enactor.standing())
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container(objects)[kind]["httpGet"]["path"]
            assert await asyncio.to_thread(status, f"http://127.0.0.1:{http}{path}") == 200, kind
    assert container(objects)["livenessProbe"]["httpGet"]["path"] == "/healthz"
