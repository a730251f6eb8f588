"""The pod template of a role: containers, probes, volumes, placement, security, hash of it all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sea_api.contract import (
    CA_DIR,
    DATA_DIR,
    HASH_LABEL,
    PARALLELISM_ANNOTATION,
    TOKEN_ANNOTATION,
    Env,
    labels,
    selected_by,
)
from sea_api.v1alpha1.data import CABundle
from sea_api.v1alpha1.names import GPU
from sea_api.v1alpha1.pods import ContainerResources, PodTemplate, Scheduling
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import RolloutParallelism, TrainerParallelism
from sea_operator.resources.env import Var
from sea_operator.resources.patch import patched

GRACE_SECONDS = 30
TRAINER_GRACE_SECONDS = 180
TRAINER_GRACE_SECONDS_ON_GPUS = 1800
"""Time for a last checkpoint, whose size the spec doesn't say; a pod that is done ends at once."""
MIN_REQUESTS = {"cpu": "100m", "memory": "256Mi"}
"""Of a container without GPUs whose amounts nobody gave: a quota on requests takes no pod without
any."""
WORKER_LIMITS = {"cpu": "4", "memory": "8Gi"}
"""A quota on limits takes no pod one of whose containers has none."""

AVOIDED_WEIGHT = 100
"""Of a preference; the largest that Kubernetes takes."""

Object = dict[str, Any]
Probes = dict[str, Any]

POD_SECURITY: Object = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
VOLUME_GROUP: Object = {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
"""Lets the pod's user, whichever it is, write to a volume: the kubelet adds the group to both."""


def pod_template(
    job: str,
    role: Role,
    containers: list[Object],
    volumes: list[Object],
    *,
    template: PodTemplate,
    scheduling: Scheduling,
    token_digest: str,
    ca_bundle: CABundle | None = None,
    parallelism: RolloutParallelism | TrainerParallelism | None = None,
    claimed: bool = False,
    grace: int | None = None,
) -> Object:
    """A template that carries its own hash as a label, so that a pod shows what it was made from.

    `token_digest` is part of it: pods that know another token than the job's are replaced. So is
    `parallelism`, which an engine asks the coordinator for when it starts.
    Raises `PatchRefusedError` for a patch of the user's that can't be merged.
    `ca_bundle`: certificates that every container finds in `CA_DIR`.
    `claimed`: a volume of the pods is a PersistentVolume, which belongs to root at first.
    `grace`: seconds, if the pods need more to end than usual.
    """
    if ca_bundle is not None:
        volumes = [*volumes, _ca_volume(ca_bundle)]
        mount = {"name": "ca", "mountPath": CA_DIR, "readOnly": True}
        containers = [{**one, "volumeMounts": [*one["volumeMounts"], mount]} for one in containers]
    spec = {
        "automountServiceAccountToken": False,
        "containers": containers,
        "securityContext": {**POD_SECURITY, **(VOLUME_GROUP if claimed else {})},
        "terminationGracePeriodSeconds": GRACE_SECONDS if grace is None else grace,
        "volumes": volumes,
        **_placement(job, role, template, scheduling),
    }
    annotations = {TOKEN_ANNOTATION: token_digest}
    if parallelism is not None:
        annotations[PARALLELISM_ANNOTATION] = parallelism.model_dump_json()
    meta = {"labels": labels(job, role), "annotations": annotations}
    made = _describing_itself(patched({"metadata": meta, "spec": spec}, template.patch))
    # Last: the label can't be part of what it is the hash of.
    made["metadata"]["labels"][HASH_LABEL] = digest(made)
    return made


def _describing_itself(made: Object) -> Object:
    """Tells each of our containers its image, for the record in the run's folder, and its pod's
    grace period: it can't find them out by itself.

    After the user's patch, which may change both.
    """
    grace = str(made["spec"]["terminationGracePeriodSeconds"])
    for container in made["spec"]["containers"]:
        own = {Env.IMAGE: container.get("image", ""), Env.GRACE_SECONDS: grace}
        for variable in container.get("env", []):
            if variable["name"] in own:
                variable["value"] = own[variable["name"]]
    return made


def trainer_grace(gpus: int, given: int | None) -> int:
    """Seconds of a trainer pod: as `checkpoint.graceSeconds` says, or by what it may have to
    store."""
    return given or (TRAINER_GRACE_SECONDS_ON_GPUS if gpus else TRAINER_GRACE_SECONDS)


def volumes(*, gpus: int, data: bool = True) -> list[Object]:
    """Scratch space, and shared memory for the libraries that talk between GPUs of a pod."""
    scratch: list[Object] = [{"name": "data", "emptyDir": {}}] if data else []
    shm: list[Object] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}] if gpus else []
    return scratch + shm


def _ca_volume(bundle: CABundle) -> Object:
    if bundle.secret_name is not None:
        return {"name": "ca", "secret": {"secretName": bundle.secret_name}}
    return {"name": "ca", "configMap": {"name": bundle.config_map_name}}


def digest(value: Any) -> str:
    """Short hash of a JSON value, fit for a label."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if not text.isascii() or b"\x7f" in text:
        # As `json` escapes these: another text would be another hash of the same template, and all
        # jobs of earlier releases would wait for an update.
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _placement(job: str, role: Role, template: PodTemplate, scheduling: Scheduling) -> Object:
    placement: Object = {
        "nodeSelector": {**scheduling.node_selector, **template.node_selector},
        "tolerations": [
            toleration.model_dump(by_alias=True, exclude_none=True, mode="json")
            for toleration in scheduling.tolerations
        ],
        "priorityClassName": scheduling.priority_class_name,
        "affinity": _affinity(job, role, scheduling.topology),
    }
    return {key: value for key, value in placement.items() if value}


def _affinity(job: str, role: Role, topology: str | None) -> Object | None:
    """Keeps the trainer's pods within one value of a node label (a rail, an NVLink domain)."""
    if topology is None or role is not Role.TRAINER:
        return None
    term = {
        "labelSelector": {"matchLabels": selected_by(job, role)},
        "topologyKey": topology,
    }
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def container(
    name: str,
    module: str,
    image: str,
    *,
    env: list[Var],
    env_from: list[Object],
    ports: dict[str, int],
    probes: Probes,
    resources: Object,
    shm: bool = False,
) -> Object:
    """A container that runs `python -m MODULE`."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        "env": [*env, {"name": Env.IMAGE.value, "value": image}],
        "envFrom": env_from,
        "ports": [_port(name, number) for name, number in ports.items()],
        **probes,
        "resources": resources,
        "securityContext": CONTAINER_SECURITY,
        # The last lines of its log are its last words, which the pod's status and ours then hold.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_DIR},
            *([{"name": "shm", "mountPath": "/dev/shm"}] if shm else []),  # noqa: S108
        ],
    }


def resources(template: PodTemplate, gpus: int) -> Object:
    """Requests and limits of a role's main container; GPUs are in both, as Kubernetes wants."""
    gpu = {GPU: str(gpus)} if gpus else {}
    given = {**template.requests, **template.limits}
    # An amount with a limit gets no default: Kubernetes then requests the limit.
    defaults = {name: amount for name, amount in _requests(gpus).items() if name not in given}
    return _amounts({**defaults, **template.requests, **gpu}, {**template.limits, **gpu})


def worker_resources(given: ContainerResources) -> Object:
    """Requests and limits of the container next to an engine."""
    named = {**given.requests, **given.limits}
    requests = {name: amount for name, amount in MIN_REQUESTS.items() if name not in named}
    limits = {name: amount for name, amount in WORKER_LIMITS.items() if name not in named}
    return _amounts({**requests, **given.requests}, {**limits, **given.limits})


def _requests(gpus: int) -> Mapping[str, str]:
    return {"cpu": str(gpus), "memory": f"{8 * gpus}Gi"} if gpus else MIN_REQUESTS


def _amounts(requests: Object, limits: Object) -> Object:
    both = {"requests": requests, "limits": limits}
    return {key: amounts for key, amounts in both.items() if amounts}


def _port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def probes(
    port: int, alive: str = "/healthz", ready: str = "/readyz", startup: int = 600
) -> Probes:
    """The three probes of a container that serves HTTP on `port` within `startup` seconds.

    Start-up may take ten minutes, an hour on GPUs (weights of hundreds of GB). After it, liveness
    is lenient: a busy machine isn't a dead one, and a restarted container costs far more than a
    late one.
    """
    return {
        # `startup // 2` failures at a period of 2 s are `startup` seconds.
        "startupProbe": _get(alive, port, period=2, timeout=5, failures=startup // 2),
        "livenessProbe": _get(alive, port, period=10, timeout=10, failures=12),
        "readinessProbe": _get(ready, port, period=2, timeout=5, failures=3),
    }


def _get(path: str, port: int, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "successThreshold": 1,
        "failureThreshold": failures,
    }


def avoiding(child: Object, nodes: Sequence[str]) -> Object:
    """The StatefulSet with a preference of its new pods for all nodes but `nodes`, on which its
    pods failed, next to those that its template has.

    Preferred, not required: where no other node has room, a node that failed twice is better than
    none, and the restart budget bounds how often that is tried.
    """
    template = child["spec"]["template"]
    affinity = template["spec"].get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    kept = node.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    # One requirement per node, all of which a node must meet: the API server refuses a field
    # selector with more than one value.
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [one]} for one in nodes]
    term = {"weight": AVOIDED_WEIGHT, "preference": {"matchFields": fields}}
    preferred = [*(one for one in kept if not _is_ours(one)), term]
    node = {**node, "preferredDuringSchedulingIgnoredDuringExecution": preferred}
    pod = {**template["spec"], "affinity": {**affinity, "nodeAffinity": node}}
    return {**child, "spec": {**child["spec"], "template": {**template, "spec": pod}}}


def _is_ours(term: Object) -> bool:
    """A template that is kept from the live StatefulSet has an earlier one of ours."""
    fields = term.get("preference", {}).get("matchFields") or []
    return any(one.get("key") == "metadata.name" for one in fields)
