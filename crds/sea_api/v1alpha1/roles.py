"""The pods of a job: trainer, rollout engines, user model, and where they may run."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from sea_api.limits import USER_MAX_TOKENS
from sea_api.v1alpha1 import role_rules
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.rules import Rule, Transition, immutable
from sea_api.v1alpha1.types import (
    GpusPerPod,
    HttpUrl,
    Int,
    LabelKey,
    Labels,
    LabelValue,
    ModelSource,
    Number,
    ObjectName,
    Quantity,
    Replicas,
    Resources,
    Ways,
)


class UserEngine(StrEnum):
    VLLM = "VLLM"
    EXTERNAL = "External"
    SCRIPTED = "Scripted"


class TolerationOperator(StrEnum):
    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class TrainerParallelism(ApiModel):
    """How the trainer's processes share one model; what is left over is data parallelism."""

    invariants: ClassVar[tuple[Rule, ...]] = (role_rules.EXPERTS_ONLY,)

    tensor: Ways = 1
    """Ways each dense matrix is split."""
    pipeline: Ways = 1
    """Consecutive groups of layers."""
    context: Ways = 1
    """Ways each sequence is split."""
    expert: Ways = 1
    """Ways the experts of a layer are spread."""
    expert_tensor: Ways = 1
    """Ways each expert's matrices are split."""


class RolloutParallelism(ApiModel):
    """How the accelerators of one engine pod share one model."""

    tensor: Ways = 1
    """Ways each matrix is split; divides max(1, gpusPerPod)."""
    expert: Ways = 1
    """Ways the experts of a layer are spread; divides max(1, gpusPerPod)."""


class Elastic(ApiModel):
    """The range within which a role may be resized while the job runs; checked, but no part of the
    operator resizes by itself yet: `replicas` counts."""

    invariants: ClassVar[tuple[Rule, ...]] = (role_rules.ELASTIC_ORDER,)

    min_replicas: Replicas
    """Fewest pods the role goes on with."""
    max_replicas: Replicas
    """Most pods the role grows to."""


class EnvVar(ApiModel):
    """An environment variable of a role's containers."""

    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Its name."""
    value: str = Field(max_length=4096)
    """Its value, taken as it is."""


class PodTemplate(ApiModel):
    """What a user may set on a role's pods."""

    image: str | None = Field(default=None, min_length=1, max_length=512)
    """Image of the role; by default the one the operator was installed with."""
    env: Annotated[list[EnvVar], role_rules.UNIQUE_ENV] = Field(
        default=[],
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Variables that win over those the operator sets."""
    requests: Resources = {}
    """Resource requests of the main container, by resource name."""
    limits: Resources = {}
    """Resource limits of the main container, by resource name."""
    node_selector: Labels = {}
    """Node labels, added to those of `spec.scheduling.nodeSelector`."""


class Trainer(ApiModel):
    """The pods that train."""

    invariants: ClassVar[tuple[Rule, ...]] = (
        role_rules.EXPERT_WORLD,
        role_rules.WITHIN_ELASTIC,
    )
    transitions: ClassVar[tuple[Transition, ...]] = (
        immutable(
            "parallelism",
            "parallelism",
            "ranks of a running job can't be laid out anew; create another job instead",
        ),
    )

    replicas: Replicas = 1
    """Trainer pods; may change while the job runs, which restarts training from a checkpoint."""
    gpus_per_pod: GpusPerPod = 8
    """Training processes a pod, one per GPU; 0 trains on the CPU with one process a pod."""
    parallelism: TrainerParallelism = TrainerParallelism()
    """Layout of the model over the processes. Immutable."""
    max_tokens_per_microbatch: Int | None = Field(default=None, ge=64, le=1048576)
    """Most tokens that a process takes through the model at once: sequences are packed up to it,
    and a longer one goes alone. Absent: `model.contextLength`. Memory grows with it."""
    elastic: Elastic | None = None
    """Sizes the operator may choose on its own when nodes come and go; not used yet."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the trainer pods."""


class Rollout(ApiModel):
    """The pods that generate: an engine and an agent-loop worker each."""

    invariants: ClassVar[tuple[Rule, ...]] = (
        role_rules.ENGINE_TENSOR,
        role_rules.ENGINE_EXPERT,
        role_rules.WITHIN_ELASTIC,
    )

    replicas: Int = Field(default=1, ge=0, le=10000)
    """Rollout pods; may change at any time."""
    gpus_per_pod: GpusPerPod = 8
    """GPUs of a pod's engine; 0 generates on the CPU."""
    parallelism: RolloutParallelism = RolloutParallelism()
    """Layout of the model over a pod's GPUs."""
    elastic: Elastic | None = None
    """Sizes the operator may choose on its own; not used yet."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the rollout pods."""


class UserModel(ApiModel):
    """Who plays the customer in an episode."""

    invariants: ClassVar[tuple[Rule, ...]] = (
        role_rules.EXTERNAL_URL,
        role_rules.ENGINE_TENSOR,
        role_rules.ENGINE_EXPERT,
    )

    engine: UserEngine = UserEngine.SCRIPTED
    """`VLLM` serves a model of this job, `External` asks a server of yours, `Scripted` has none."""
    replicas: Replicas = 1
    """Pods of the `VLLM` engine."""
    gpus_per_pod: GpusPerPod = 8
    """GPUs of a `VLLM` pod; 0 generates on the CPU."""
    parallelism: RolloutParallelism = RolloutParallelism()
    """Layout of the user model over a pod's GPUs."""
    source: ModelSource | None = None
    """Weights the `VLLM` engine starts from; by default the job's base model."""
    url: HttpUrl | None = None
    """OpenAI-compatible base URL of the `External` engine."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """Model name to ask the `External` engine for; by default `model.name` of the job."""
    api_key_secret: ObjectName | None = None
    """Secret with OPENAI_API_KEY for the `External` engine."""
    temperature: Number = Field(default=0.0, ge=0, le=10)
    """Sampling temperature of the user's turns."""
    max_tokens: Int = Field(default=USER_MAX_TOKENS, ge=1, le=65536)
    """Longest turn of the user, in tokens."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the `VLLM` pods."""


class Coordinator(ApiModel):
    """The pod that keeps dataset cursor, ledger, membership and weight versions."""

    transitions: ClassVar[tuple[Transition, ...]] = (role_rules.KEPT_CLASS, role_rules.KEPT_SIZE)

    storage_class_name: ObjectName | None = None
    """StorageClass of the ledger's volume; without it the ledger lives as long as the pod and
    its snapshot in every checkpoint is what survives. Immutable."""
    volume_size: Quantity = "10Gi"
    """Size of the ledger's volume. Immutable."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the coordinator pod."""


class Toleration(ApiModel):
    """A taint that the job's pods tolerate, as in a pod's spec."""

    key: LabelKey | None = None
    """Taint key; absent with `Exists` tolerates every taint."""
    operator: TolerationOperator | None = None
    """How `value` is compared; `Equal` when absent."""
    value: LabelValue | None = None
    """Taint value for `Equal`."""
    effect: TaintEffect | None = None
    """Taint effect; absent matches every effect."""


class Scheduling(ApiModel):
    """Where the job's pods may run, for all roles."""

    queue_name: ObjectName | None = None
    """Kueue LocalQueue; sets `kueue.x-k8s.io/queue-name` on the pods."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of all pods."""
    topology: LabelKey | None = None
    """Node label within one value of which all trainer pods must run (a rail or NVLink domain)."""
    node_selector: Labels = {}
    """Node labels that every pod needs."""
    tolerations: list[Toleration] = Field(default=[], max_length=16)
    """Taints that every pod tolerates."""
