"""A strategic-merge patch of a role's PodTemplateSpec, and what it may not touch.

Its `spec` may hold anything that a PodSpec may: the API server checks it when the operator applies
the StatefulSet. What the rules here can't see, `sea_operator.resources.patch` refuses.
"""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEW_ATTEMPT, Edits
from sea_api.v1alpha1.names import GROUP
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Labels

OUR_CONTAINERS = ("coordinator", "trainer", "engine", "worker")
"""Containers that run the operator's programs."""
OUR_VOLUMES = ("data", "shm")
OUR_VARIABLES = ("POD_NAME", "POD_IP")
"""Variables that the programs in the pods are wired by, next to those that begin with SEA_."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
POD_GROUP_LABEL = "kueue.x-k8s.io/pod-group-name"


def is_our_variable(name: Any) -> bool:
    """Whether the programs in the pods are wired by a variable of this name."""
    return isinstance(name, str) and (name.startswith("SEA_") or name in OUR_VARIABLES)


_WIRED = f"(e.name.startsWith('SEA_') || e.name in {list(OUR_VARIABLES)})"

FREE_ENV = Rule(
    cel=f"self.all(e, !{_WIRED})",
    message="variables that begin with SEA_, POD_NAME and POD_IP are set by the operator, which"
    " wires the pods with them: choose another name",
    holds=lambda env: not any(is_our_variable(variable.name) for variable in env),
)


_OURS = f"has(c.name) && c.name in {list(OUR_CONTAINERS)}"


def _of_ours(patch: Any) -> list[Any]:
    return [one for one in patch.containers or [] if one.name in OUR_CONTAINERS]


OUR_COMMAND = Rule(
    cel=f"!has(self.containers) || self.containers.all(c, !({_OURS})"
    " || (!has(c.command) && !has(c.args)))",
    message="command and args of the containers coordinator, trainer, engine and worker are the"
    " operator's: remove them, or add a container or an init container of your own",
    holds=lambda patch: all(one.command is None and one.args is None for one in _of_ours(patch)),
)

OUR_ENV = Rule(
    cel=f"!has(self.containers) || self.containers.all(c, !({_OURS})"
    f" || !has(c.env) || c.env.all(e, !has(e.name) || !{_WIRED}))",
    message=FREE_ENV.message,
    holds=lambda patch: (
        not any(
            is_our_variable(variable.name) for one in _of_ours(patch) for variable in one.env or []
        )
    ),
)

OUR_VOLUME = Rule(
    cel="!has(self.volumes) || self.volumes.all(v, !has(v.name) || !(v.name in"
    f" {list(OUR_VOLUMES)}))",
    message="the volumes data and shm are the operator's: give yours another name",
    holds=lambda patch: not any(volume.name in OUR_VOLUMES for volume in patch.volumes or []),
)

NO_IDENTITY = Rule(
    cel="!has(self.hostname) && !has(self.subdomain)",
    message="hostname and subdomain of a StatefulSet's pods are set by Kubernetes: remove them",
    holds=lambda patch: patch.hostname is None and patch.subdomain is None,
)

OUR_KEYS = Rule(
    cel=f"self.all(key, !key.startsWith('{GROUP}/') && key != 'app.kubernetes.io/managed-by')",
    message=f"keys that begin with {GROUP}/, and app.kubernetes.io/managed-by, are the operator's:"
    " choose others",
    holds=lambda value: (
        not any(
            key.startswith(f"{GROUP}/") or key == "app.kubernetes.io/managed-by" for key in value
        )
    ),
)

QUEUED_AS_GROUP = Rule(
    cel=f"!('{QUEUE_LABEL}' in self) || '{POD_GROUP_LABEL}' in self",
    message=f"the label {QUEUE_LABEL} alone lets Kueue admit the pods one by one, and a trainer"
    f" waits for all of its pods: add {POD_GROUP_LABEL}, or set the queue on the job as a whole"
    " (docs/pods.md)",
    holds=lambda labels: QUEUE_LABEL not in labels or POD_GROUP_LABEL in labels,
)

Argument = Annotated[str, Field(max_length=65536)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)]


class OpenModel(ApiModel):
    """A part of a patch: fields that the rules look at, and any others."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Keeps a null, which deletes a field."""
        return data


class NamedEntry(OpenModel):
    """An entry of a list that merges by name."""

    name: str | None = Field(default=None, max_length=253)
    """By which entries are merged."""


class ContainerPatch(NamedEntry):
    """One of the operator's containers by name, or a further one."""

    command: list[Argument] | None = Field(default=None, max_length=64)
    """Of a container of your own."""
    args: list[Argument] | None = Field(default=None, max_length=64)
    """Of a container of your own."""
    env: list[NamedEntry] | None = Field(default=None, max_length=128)
    """Variables, from Secrets and fields too."""


class PodSpecPatch(OpenModel):
    """Patch of the PodSpec: any of its fields."""

    invariants: ClassVar[tuple[Rule, ...]] = (OUR_COMMAND, OUR_ENV, OUR_VOLUME, NO_IDENTITY)
    ratchets: ClassVar[bool] = False

    containers: list[ContainerPatch] | None = Field(default=None, max_length=16)
    """The operator's containers by name, or further ones."""
    volumes: list[NamedEntry] | None = Field(default=None, max_length=64)
    """Further volumes."""
    hostname: str | None = Field(default=None, max_length=253)
    """Refused."""
    subdomain: str | None = Field(default=None, max_length=253)
    """Refused."""

    def fields(self) -> dict[str, Any]:
        """The patch as it was written."""
        # Most jobs have none, and this is asked for in each pass of the operator.
        if not self.model_fields_set and not self.model_extra:
            return {}
        return self.model_dump(by_alias=True, exclude_unset=True)


class PodMetadataPatch(ApiModel):
    """Labels and annotations of a role's pods, in addition to the operator's."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    labels: Annotated[Labels, OUR_KEYS, QUEUED_AS_GROUP] = {}
    """Labels of the pods."""
    annotations: Annotated[Annotations, OUR_KEYS] = {}
    """Annotations of the pods."""


class PodPatch(ApiModel):
    """A strategic-merge patch of the role's PodTemplateSpec, as `kubectl patch` takes it."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    metadata: PodMetadataPatch = PodMetadataPatch()
    """Labels and annotations."""
    spec: PodSpecPatch = PodSpecPatch()
    """Patch of the PodSpec: lists merge by `name` (containers, initContainers, volumes, env,
    imagePullSecrets), `mountPath` (volumeMounts) or the list's own key; others are replaced.
    What the operator wires the pods with stays: its labels, containers' names and commands,
    variables that begin with SEA_, ports, volumes `data` and `shm`, and GPUs."""
