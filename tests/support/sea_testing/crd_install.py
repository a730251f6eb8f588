"""Puts a CRD on a real API server, and waits until the resource is served as it says."""

from typing import Any

from sea_devcluster.api import KubeApi
from sea_devcluster.errors import ApiError
from sea_devcluster.waiting import wait_until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KINDS = "x-kubernetes-group-version-kind"
JOBS = "/apis/sea-operator.io/v1alpha1/seatrainingjobs"
PATIENCE = 120.0
"""Seconds that end a wait for what has hung: no test may hang on how fast the machine is."""


def install_crd(kube: KubeApi, manifest: dict[str, Any]) -> dict[str, Any]:
    """The CRD as the server stores it, once it is Established, serves requests and is described."""
    path = f"{CRDS}/{manifest['metadata']['name']}"
    kube.apply(path, manifest)
    wait_until(
        lambda: _established(kube.get(path)), what="the CRD to be Established", timeout=PATIENCE
    )
    wait_until(lambda: _serves(kube), what="the new resource to be served", timeout=PATIENCE)
    wait_until(
        lambda: _described(kube, manifest), what="the new resource's schema", timeout=PATIENCE
    )
    stored: dict[str, Any] = kube.get(path)
    return stored


def _established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _described(kube: KubeApi, manifest: dict[str, Any]) -> bool:
    """What kubectl reads of a resource is put together some time after its first request."""
    group = JOBS.rpartition("/")[0]
    try:
        listed = kube.get(group)["resources"]
        schemas = kube.get(f"/openapi/v3{group}")["components"]["schemas"]
    except ApiError as error:
        if error.status in (404, 429, 503):
            return False
        raise
    found = [
        schema
        for schema in schemas.values()
        if any(one["kind"] == "SEATrainingJob" for one in schema.get(KINDS, []))
    ]
    served = any(one["name"] == "seatrainingjobs" for one in listed)
    return served and any(_fields(schema) == _fields(_schema(manifest)) for schema in found)


def _schema(manifest: dict[str, Any]) -> Any:
    return manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _fields(schema: Any) -> Any:
    """The names of all fields: a replaced CRD is served with its old schema for a moment."""
    if isinstance(schema, dict):
        inner = {key: _fields(value) for key, value in schema.get("properties", {}).items()}
        return inner or _fields(schema.get("items"))
    return None


def _serves(kube: KubeApi) -> bool:
    """Just after the CRD's creation the server answers 404, then 429, for about a second."""
    try:
        kube.get(JOBS)
    except ApiError as error:
        if error.status in (404, 429):
            return False
        raise
    return True
