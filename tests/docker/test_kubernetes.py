"""Kubernetes manifests: valid by the schemas of Kubernetes and of custom resources, consistent with the settings."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tessella.server.settings import Settings

FOLDER = Path(__file__).parents[2] / "docker" / "kubernetes"
SCHEMAS = json.loads((Path(__file__).parent / "schemas.json").read_text())
Document = dict[str, Any]


def read(file: str) -> Document:
    document: Document = yaml.safe_load((FOLDER / file).read_text())
    return document


def resources(folder: str) -> list[Document]:
    """Patched resources of a kustomization, as `kubectl apply --kustomize` sends them; images are not replaced."""
    kustomization = read(f"{folder}/kustomization.yaml")
    documents: list[Document] = []
    for entry in kustomization["resources"]:
        nested = (FOLDER / folder / entry).is_dir()
        documents += resources(str(Path(folder, entry))) if nested else [read(f"{folder}/{entry}")]
    for patch in kustomization.get("patches", []):
        overlay = read(f"{folder}/{patch['path']}")
        (target,) = (one for one in documents if identity(one) == identity(overlay))
        merge(target, overlay)
    return documents


def identity(document: Document) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def merge(target: Document, patch: Document) -> None:
    """Strategic merge patch: objects by key, lists of named objects by name, other lists replaced."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        elif isinstance(value, list) and isinstance(target.get(key), list) and value and "name" in value[0]:
            by_name = {one["name"]: one for one in target[key]}
            for one in value:
                if one["name"] in by_name:
                    merge(by_name[one["name"]], one)
                else:
                    target[key].append(one)
        else:
            target[key] = value


def check(document: Document) -> None:
    """
    Raises:
        kubernetes_validate.ValidationError, jsonschema.ValidationError: invalid for its kind.
    """
    if document["kind"] in SCHEMAS["$defs"]:
        jsonschema.validate(document, SCHEMAS | {"$ref": f"#/$defs/{document['kind']}"})
        if document["kind"] != "ClusterServingRuntime":
            return
        pod = {key: document["spec"][key] for key in ("containers", "volumes")}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": pod}
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def containers() -> Iterator[tuple[str, Document, Document]]:
    """Name, pod spec and container of each manifest that runs the server."""
    for folder in ("base", "gpu"):
        (deployment,) = (one for one in resources(folder) if one["kind"] == "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        yield folder, pod, pod["containers"][0]
    runtime, service = resources("kserve")
    grace = service["spec"]["predictor"]["terminationGracePeriodSeconds"]
    yield "kserve", runtime["spec"] | {"terminationGracePeriodSeconds": grace}, runtime["spec"]["containers"][0]


@pytest.mark.parametrize("folder", ["base", "gpu", "kserve"])
def test_every_manifest_is_valid(folder: str) -> None:
    documents = resources(folder)
    assert len(documents) >= 2
    for document in documents:
        check(document)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["base", "gpu", "kserve"])
def test_kustomize_renders_the_resources_checked_here(folder: str) -> None:
    command = ["kubectl", "kustomize", str(FOLDER / folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    rendered = list(yaml.safe_load_all(result.stdout))
    for document in rendered:
        check(document)
    assert sorted(map(identity, rendered)) == sorted(map(identity, resources(folder)))
    for document in rendered:
        if document["kind"] == "Deployment":
            (ours,) = (one for one in resources(folder) if one["kind"] == "Deployment")
            pods = [one["spec"]["template"]["spec"] for one in (document, ours)]
            for pod in pods:
                del pod["containers"][0]["image"]
                pod["containers"][0]["env"].sort(key=lambda variable: variable["name"])
            assert pods[0] == pods[1]


def test_every_file_belongs_to_a_kustomization() -> None:
    listed = {"prometheus-adapter.yaml"}
    for file in FOLDER.rglob("kustomization.yaml"):
        kustomization = yaml.safe_load(file.read_text())
        names = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))]
        listed |= {str((file.parent / name).relative_to(FOLDER)) for name in names if (file.parent / name).is_file()}
    assert {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.yaml")} - listed == {
        f"{folder}/kustomization.yaml" for folder in ("base", "gpu", "kserve")
    }


@pytest.mark.parametrize(
    ("folder", "kind", "path", "wrong"),
    [
        ("base", "Deployment", "spec.template.spec.containers.0.readinesProbe", {}),
        ("base", "Deployment", "spec.template.spec.terminationGracePeriodSeconds", "75"),
        ("base", "HorizontalPodAutoscaler", "spec.maxReplicas", None),
        ("base", "ServiceMonitor", "spec.endpoints.0.interval", "15"),
        ("kserve", "ClusterServingRuntime", "spec.protocolVersions.0", "v3"),
        ("kserve", "ClusterServingRuntime", "spec.supportedModelTypes", []),
        ("kserve", "ClusterServingRuntime", "spec.containers.0.name", "tessella"),
        ("kserve", "ClusterServingRuntime", "spec.containers.0.securityContext.runAsUser", "10001"),
        ("kserve", "InferenceService", "spec.predictor.model.storageURI", "pvc://models/flowers"),
        ("kserve", "InferenceService", "spec.predictor.scaleMetric", "queue"),
    ],
)
def test_invalid_fields_are_found(folder: str, kind: str, path: str, wrong: Any) -> None:
    (document,) = (deepcopy(one) for one in resources(folder) if one["kind"] == kind)
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    parent: Any = document
    for part in parents:
        parent = parent[part]
    if wrong is None:
        del parent[last]
    else:
        parent[last] = wrong
    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
        check(document)


def test_termination_grace_period_is_longer_than_draining() -> None:
    """Worst case: preStop, drain delay, then front ends and engines, each killed a second after the drain timeout."""
    for where, pod, container in containers():
        set_here = {variable["name"]: variable["value"] for variable in container["env"]}
        settings = Settings(
            drain_delay=float(set_here["TESSELLA_DRAIN_DELAY"]), drain_timeout=float(set_here["TESSELLA_DRAIN_TIMEOUT"])
        )
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = before + settings.drain_delay + 2 * (settings.drain_timeout + 1)
        assert pod["terminationGracePeriodSeconds"] > needed, where
        probe = container["readinessProbe"]
        assert settings.drain_delay >= probe["periodSeconds"], "endpoints are removed before connections are refused"


def test_pods_have_minimal_privileges() -> None:
    for where, pod, container in containers():
        own = container["securityContext"]
        assert {**pod.get("securityContext", {}), **own}["runAsNonRoot"] is True, where
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/cache", "/tmp"}
        assert container["resources"]["limits"]["cpu"] == container["resources"]["requests"]["cpu"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_environment_variables_and_arguments_are_settings() -> None:
    names = {f"TESSELLA_{name.upper()}" for name in Settings.model_fields}
    options = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    for _, _, container in containers():
        assert {variable["name"] for variable in container["env"]} <= names
        assert {argument.partition("=")[0] for argument in container.get("args", ["serve"])} - options == {"serve"}


def test_the_gpu_patch_keeps_the_base() -> None:
    _, pod, container = next(one for one in containers() if one[0] == "gpu")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"TESSELLA_DEVICE", "TESSELLA_DRAIN_DELAY"} <= {variable["name"] for variable in container["env"]}
    assert {volume["name"] for volume in pod["volumes"]} == {"cache", "temporary"}
    tags = [read(f"{folder}/kustomization.yaml")["images"][0] for folder in ("base", "gpu")]
    assert tags[0]["newName"] == tags[1]["name"]


def test_the_autoscaler_uses_the_metric_of_the_adapter() -> None:
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    (metric,) = read("base/autoscaler.yaml")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
