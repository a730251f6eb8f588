"""What a user may set on a job's pods: short fields, a patch of the whole template, placement."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from sea_api.v1alpha1 import forms, pod_rules
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEW_ATTEMPT, Edits
from sea_api.v1alpha1.pod_patch import FREE_ENV, PodPatch
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Int, LabelKey, Labels, LabelValue, ObjectName, Resources

_SPEC, _META = "template.patch.spec", "template.patch.metadata"
ELSEWHERE = {
    "resources": "template.requests and template.limits",
    "imagePullPolicy": f"{_SPEC}.containers[].imagePullPolicy",
    "envFrom": f"{_SPEC}.containers[].envFrom",
    "volumeMounts": f"{_SPEC}.containers[].volumeMounts",
    "securityContext": f"{_SPEC}.securityContext or {_SPEC}.containers[].securityContext",
    **{key: f"{_META}.{key}" for key in ("labels", "annotations")},
    **{
        key: f"{_SPEC}.{key}"
        for key in (
            "affinity",
            "containers",
            "hostNetwork",
            "imagePullSecrets",
            "initContainers",
            "runtimeClassName",
            "serviceAccountName",
            "terminationGracePeriodSeconds",
            "tolerations",
            "topologySpreadConstraints",
            "volumes",
        )
    },
    "valueFrom": f"{_SPEC}.containers[].env[].valueFrom",
    "priorityClassName": "spec.scheduling.priorityClassName",
}
"""Where fields go that people look for in a role's `template` and its variables."""


class TolerationOperator(StrEnum):
    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


UNIQUE_ENV = Rule(
    cel=None,
    message="Duplicate value: two variables of env have one name; remove one",
    holds=lambda env: len({variable.name for variable in env}) == len(env),
)


class EnvVar(ApiModel):
    """An environment variable of a role's containers."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    name: Annotated[str, Field(min_length=1, max_length=128), forms.VARIABLE_NAME]
    """Its name."""
    value: str = Field(max_length=4096)
    """Its value, taken literally."""


class ContainerResources(ApiModel):
    """Resources of the agent-loop worker next to an engine."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    invariants: ClassVar[tuple[Rule, ...]] = pod_rules.RESOURCES

    requests: Resources = {}
    """Requests, by resource name. CPU and memory that neither this nor `limits` names: 100m and
    256Mi. Pods are replaced one by one."""
    limits: Resources = {}
    """Limits, by resource name. CPU and memory that neither this nor `requests` names: 4 and
    8Gi. Pods are replaced one by one."""


class PodTemplate(ApiModel):
    """What a user may set on a role's pods."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    invariants: ClassVar[tuple[Rule, ...]] = pod_rules.RESOURCES

    image: str | None = Field(default=None, min_length=1, max_length=512)
    """Image of the role; absent means the one that the operator was installed with."""
    env: Annotated[list[EnvVar], UNIQUE_ENV, FREE_ENV] = Field(
        default=[],
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Variables of the operator's containers; they win over those that the operator sets, except
    SEA_..., POD_NAME and POD_IP, which are refused."""
    requests: Resources = {}
    """Resource requests of the main container, by resource name. CPU and memory that neither
    this nor `limits` names: 100m and 256Mi, with GPUs 1 and 8Gi per GPU. GPUs are requested by
    `gpusPerPod` already."""
    limits: Resources = {}
    """Resource limits of the main container, by resource name; empty, the default, sets none but
    GPUs."""
    node_selector: Labels = {}
    """Node labels, added to those of `spec.scheduling.nodeSelector`."""
    patch: PodPatch = PodPatch()
    """Everything else of a pod: service account, pull secrets, volumes, sidecars, affinity,
    annotations. Merged last."""


TOLERATION_SECONDS = Rule(
    cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
    message="tolerationSeconds needs effect NoExecute, the only one that evicts running pods: set"
    " effect, or remove tolerationSeconds",
    holds=lambda toleration: (
        toleration.toleration_seconds is None or toleration.effect is TaintEffect.NO_EXECUTE
    ),
)

TOLERATION_VALUE = Rule(
    cel="!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
    message="a toleration with operator Exists has no value: remove value, or set operator Equal",
    holds=lambda toleration: (
        toleration.operator is not TolerationOperator.EXISTS or not toleration.value
    ),
)

TOLERATION_KEY = Rule(
    cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
    message="a toleration without key tolerates every taint and needs operator Exists: add key or"
    " set operator Exists",
    holds=lambda toleration: (
        toleration.key is not None or toleration.operator is TolerationOperator.EXISTS
    ),
)


class Toleration(ApiModel):
    """A taint that the job's pods tolerate, as in a pod's spec."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    invariants: ClassVar[tuple[Rule, ...]] = (TOLERATION_SECONDS, TOLERATION_VALUE, TOLERATION_KEY)

    key: LabelKey | None = None
    """Taint key; absent with `Exists` tolerates every taint."""
    operator: TolerationOperator | None = None
    """How `value` is compared; `Equal` when absent."""
    value: LabelValue | None = None
    """Taint value for `Equal`."""
    effect: TaintEffect | None = None
    """Taint effect; absent matches every effect."""
    toleration_seconds: Int | None = Field(default=None, ge=0, le=31536000)
    """Seconds for which a running pod tolerates a `NoExecute` taint; absent means forever."""


class Scheduling(ApiModel):
    """Where the job's pods may run, for all roles."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    priority_class_name: ObjectName | None = None
    """PriorityClass of all pods; absent means the cluster's default."""
    topology: LabelKey | None = None
    """Node label that has the same value for all trainer pods (a rail or an NVLink domain);
    absent means that they may run anywhere."""
    node_selector: Labels = {}
    """Node labels that every pod needs."""
    tolerations: list[Toleration] = Field(default=[], max_length=16)
    """Taints that every pod tolerates."""
