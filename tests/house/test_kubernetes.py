"""The manifests of config/kubernetes against the schemas of Kubernetes and KServe, and against what the server really reads,
listens on and answers: no cluster is needed to see that they fit together."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from config import env
from inference.server import __main__ as server_main
from inference.server.settings import ServerSettings
from tests.house.test_compose import COMPOSE, OF_LIBRARIES, server_variables

KUBERNETES = "1.37"
FOLDER = env.BASE_DIR / "config" / "kubernetes"
KSERVE_SCHEMA = json.loads((Path(__file__).parent / "kserve.schema.json").read_text(encoding="utf-8"))


def documents(name: str) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")) if d]


PLAIN = documents("inference.yaml")
KSERVE = documents("kserve.yaml")
BY_KIND = {document["kind"]: document for document in PLAIN}
PODS = {
    "Deployment": BY_KIND["Deployment"]["spec"]["template"]["spec"],
    "InferenceService": KSERVE[0]["spec"]["predictor"],
}


def kserve_problems(document: dict[str, Any]) -> list[str]:
    """What KServe would not take, as path and sentence."""
    definitions = schema_contents(
        f"kubernetes-json-schema/v{KUBERNETES}.0-local-strict/_definitions.json", KUBERNETES
    )
    registry = Resource.from_contents(definitions) @ Registry()
    errors = Draft202012Validator(KSERVE_SCHEMA, registry=registry).iter_errors(document)
    return [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in errors]


@pytest.mark.parametrize("document", PLAIN, ids=lambda d: d["kind"])
def test_manifest_fits_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("document", KSERVE, ids=lambda d: d["kind"])
def test_manifest_fits_the_schema_of_kserve(document: dict[str, Any]) -> None:
    assert kserve_problems(document) == []


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("spec", "predictor", "minReplica"), 2, "minReplica"),
        (("spec", "predictor", "maxReplicas"), "ten", "maxReplicas"),
        (("spec", "predictor", "containers", 0, "readinessProb"), {}, "readinessProb"),
        (("spec", "predictor", "containers", 0, "ports", 0, "containerPort"), "8100", "containerPort"),
        (("spec", "predictor"), None, "spec"),
    ],
)
def test_schema_of_kserve_finds_a_slip(path: tuple[Any, ...], value: Any, named: str) -> None:
    """The vendored schema is strict, or the test above would prove nothing."""
    document = copy.deepcopy(KSERVE[0])
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    assert any(named in problem for problem in kserve_problems(document)), named


@pytest.mark.parametrize("kind", PODS)
def test_pod_sets_only_what_the_server_reads_and_all_that_it_needs(kind: str) -> None:
    (container,) = PODS[kind]["containers"]
    names = {entry["name"] for entry in container["env"]}
    assert names <= server_variables() | OF_LIBRARIES
    assert {
        "ASSAY_CONTROL_URL",
        "ASSAY_SERVER_TOKEN_FILE",
        "ASSAY_SERVER_CACHE",
        "ASSAY_SERVER_HOSTS",
    } <= names
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in PODS[kind]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    values = {entry["name"]: entry["value"] for entry in container["env"]}
    assert values["ASSAY_SERVER_CACHE"] in mounts
    assert str(Path(values["ASSAY_SERVER_TOKEN_FILE"]).parent) in mounts


@pytest.mark.parametrize("kind", PODS)
def test_pod_runs_the_command_of_docker_compose(kind: str) -> None:
    (container,) = PODS[kind]["containers"]
    assert " ".join(container["command"]) == COMPOSE["services"]["inference"]["command"]
    assert container["command"][2] == server_main.__name__.removesuffix(".__main__")


@pytest.mark.parametrize("kind", PODS)
def test_probes_ask_addresses_that_exist_and_need_no_token(kind: str) -> None:
    from inference.server.probes import healthz
    from inference.server.protocols import kserve

    (container,) = PODS[kind]["containers"]
    port = container["ports"][0]["containerPort"]
    named = {container["ports"][0]["name"]: port, port: port}
    known = {"/healthz", "/readyz", *(route.path for route in kserve.ROUTES)}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in container:
            asked = container[probe]["httpGet"]
            assert asked["path"] in known and named[asked["port"]] == 8100
    assert healthz.__name__ in container["livenessProbe"]["httpGet"]["path"] or kind == "InferenceService"
    # Liveness must never touch a model: the readiness address there would restart a loading replica for ever.
    assert "ready" not in container["livenessProbe"]["httpGet"]["path"]


@pytest.mark.parametrize("kind", PODS)
def test_pod_may_drain_before_it_is_killed(kind: str) -> None:
    drain = ServerSettings.drain_delay_s + ServerSettings.drain_timeout_s
    assert PODS[kind]["terminationGracePeriodSeconds"] > drain


@pytest.mark.parametrize("kind", PODS)
def test_pod_has_no_rights_to_lose(kind: str) -> None:
    pod = PODS[kind]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any(
        "value" in entry and "TOKEN_FILE" not in entry["name"] and "TOKEN" in entry["name"]
        for entry in container["env"]
    )


def test_everything_points_at_the_same_pods() -> None:
    labels = BY_KIND["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"],
        BY_KIND["Service"]["spec"]["selector"],
        BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", BY_KIND["Deployment"]["metadata"]["name"])
