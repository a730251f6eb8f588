"""The roles of a job: trainer, rollout engines, user model, coordinator."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from sea_api.limits import MAX_EPISODES, USER_MAX_TOKENS
from sea_api.v1alpha1 import pod_rules, role_rules
from sea_api.v1alpha1.addresses import BaseUrl, ModelSource
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import IMMUTABLE, NEW_ATTEMPT, NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.elastic import Elastic, TrainerElastic
from sea_api.v1alpha1.pods import ContainerResources, PodTemplate
from sea_api.v1alpha1.rules import Rule, Transition
from sea_api.v1alpha1.trainer_memory import OPTIMIZER_GPUS, OptimizerMemory, Recomputation
from sea_api.v1alpha1.types import (
    Bool,
    GpusPerPod,
    Int,
    ObjectName,
    Quantity,
    Replicas,
    Temperature,
    Ways,
)


class UserEngine(StrEnum):
    VLLM = "VLLM"
    EXTERNAL = "External"
    SCRIPTED = "Scripted"


class TrainerParallelism(ApiModel):
    """How the trainer's processes share one model. What is left over is data parallelism:
    replicas that each compute other rows of tokens."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    invariants: ClassVar[tuple[Rule, ...]] = (role_rules.EXPERT_TENSOR,)

    tensor: Ways = 1
    """Neighboring processes that split each dense matrix and the activations between them;
    divides the attention heads. 1, the default, doesn't split. Keep it within a node."""
    pipeline: Ways = 1
    """Consecutive groups of layers, one after another; 1, the default, is one group. Layers are
    divided evenly, where the embedding and the loss count as one layer each."""
    context: Ways = 1
    """Processes that split each sequence between them, for long ones; 1, the default, doesn't
    split."""
    expert: Ways = 1
    """Processes that the experts of a layer are spread over; divides the number of experts. They
    are the processes of `tensor`, `context` and data parallelism over again. 1, the default,
    keeps all experts on every process."""
    expert_tensor: Ways | None = None
    """Parts that each expert's matrices are split into. Absent means 1, whole experts, where
    `expert` spreads them, and the same as `tensor` otherwise."""


class RolloutParallelism(ApiModel):
    """How the accelerators of one engine pod share one model."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    tensor: Ways | None = None
    """Parts that each matrix is split into: all GPUs of the pod, which absent means. Fewer would
    leave the others idle. On the CPU (`gpusPerPod` 0), processes of the engine; absent means 1."""
    expert: Ways = 1
    """GPUs that the experts of a layer are spread over: 1, the default, splits each expert as
    `tensor` says; all GPUs of the pod gives each GPU whole experts."""


class Trainer(ApiModel):
    """The pods that train."""

    edits: ClassVar[Edits] = NEW_ATTEMPT.but(
        Effect.NEXT_STEP, "max_tokens_per_microbatch", "elastic", "warm"
    )

    invariants: ClassVar[tuple[Rule, ...]] = (
        role_rules.ATTENTION_WORLD,
        role_rules.EXPERT_WORLD,
        role_rules.ELASTIC_SIZES,
        role_rules.WITHIN_ELASTIC,
        pod_rules.GPUS_AGREE,
        OPTIMIZER_GPUS,
    )
    replicas: Replicas = 1
    """Trainer pods."""
    warm: Bool = False
    """Keep the pods through stages that don't train (`Synthesis`, `Evaluation`); false, the
    default, frees their GPUs until the next stage that trains."""
    gpus_per_pod: GpusPerPod = 8
    """Training processes per pod, one per GPU; 0 trains on the CPU with one process per pod."""
    parallelism: TrainerParallelism = TrainerParallelism()
    """Layout of the model over the processes."""
    max_tokens_per_microbatch: Int | None = Field(default=None, ge=64, le=1048576)
    """Most tokens that a process takes through the model at once: sequences are packed up to it,
    and a longer one goes alone. Absent means `model.contextLength`. Memory grows with it."""
    recomputation: Recomputation = Recomputation.AUTO
    """Activations that the backward pass computes again instead of keeping them: `None`, none;
    `Selective`, those of each layer's MLP or experts; `Full`, those of whole layers, which costs
    about a third of a step. `Auto`, the default, takes the first of them that fits into the GPU's
    memory, and `None` on a CPU."""
    optimizer: OptimizerMemory = OptimizerMemory()
    """Memory of the optimizer's states."""
    elastic: TrainerElastic | None = None
    """Sizes that the operator may choose by what the cluster can give, of those that the layout
    admits; absent means that the trainer has `replicas` pods or waits."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the trainer pods."""


class Rollout(ApiModel):
    """The pods that generate: an engine and an agent-loop worker each."""

    edits: ClassVar[Edits] = NEW_ATTEMPT.but(Effect.NEXT_STEP, "replicas", "elastic", "warm")

    invariants: ClassVar[tuple[Rule, ...]] = (
        role_rules.ENGINE_TENSOR,
        role_rules.ENGINE_EXPERT,
        role_rules.WITHIN_ELASTIC,
        pod_rules.GPUS_AGREE,
    )

    replicas: Int = Field(default=1, ge=0, le=10000)
    """Rollout pods; 0 pauses generation."""
    warm: Bool = False
    """Keep the pods through stages that don't generate (`Synthesis`, `UserSFT`, `SFT`); false,
    the default, frees their GPUs until the next stage that does."""
    gpus_per_pod: GpusPerPod = 8
    """GPUs of a pod's engine; 0 generates on the CPU. Pods are replaced one by one."""
    parallelism: RolloutParallelism = RolloutParallelism()
    """Layout of the model over a pod's GPUs."""
    max_episodes: Int = Field(default=MAX_EPISODES, ge=1, le=4096)
    """Episodes that an engine plays at one time. Each holds its context in the engine's memory;
    what doesn't fit waits. Pods are replaced one by one."""
    router_replay: Bool = False
    """The trainer takes the experts that the engine chose for each token instead of choosing
    again, so that both compute the same function of a Qwen3-MoE model. Trajectories carry them:
    one byte per layer and chosen expert of each token, 752 with the 94 layers and 8 experts of
    Qwen3-235B-A22B. False, the default, lets the trainer choose."""
    elastic: Elastic | None = None
    """Sizes that the operator may choose by what the cluster can give; absent means that the role
    has `replicas` pods. Leave it out where an autoscaler sets `replicas`."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the rollout pods. Pods are replaced one by one."""
    worker: ContainerResources = ContainerResources()
    """Resources of the container `worker`, which drives the episodes next to the engine."""


class UserModel(ApiModel):
    """The simulated customer of an episode."""

    edits: ClassVar[Edits] = NEXT_STEP.but(
        Effect.NEW_ATTEMPT, "gpus_per_pod", "api_key_secret"
    ).but(Effect.IMMUTABLE, "source")

    transitions: ClassVar[tuple[Transition, ...]] = (role_rules.KEPT_USER_SOURCE,)
    invariants: ClassVar[tuple[Rule, ...]] = (
        role_rules.EXTERNAL_URL,
        role_rules.EXTERNAL_ONLY,
        role_rules.VLLM_ONLY,
        role_rules.WITHIN_ELASTIC,
        role_rules.ENGINE_TENSOR,
        role_rules.ENGINE_EXPERT,
        pod_rules.GPUS_AGREE,
    )

    engine: UserEngine = UserEngine.SCRIPTED
    """`VLLM` serves a model of this job, `External` asks a server of yours, `Scripted`, the
    default, needs no model."""
    replicas: Replicas = 1
    """Pods of the `VLLM` engine."""
    warm: Bool = False
    """Keep the `VLLM` pods through stages without episodes (`Synthesis`, `UserSFT`, `SFT`);
    false, the default, frees their GPUs until the next stage that has some."""
    gpus_per_pod: GpusPerPod = 8
    """GPUs of a `VLLM` pod; 0 generates on the CPU. Pods are replaced one by one."""
    parallelism: RolloutParallelism = RolloutParallelism()
    """Layout of the user model over a pod's GPUs."""
    source: ModelSource | None = None
    """Weights that the `VLLM` engine starts from; absent means the job's base model."""
    url: BaseUrl | None = None
    """OpenAI-compatible base URL of the `External` engine."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """Model name to ask the `External` engine for; absent means the job's `model.name`."""
    api_key_secret: ObjectName | None = None
    """Secret with OPENAI_API_KEY for the `External` engine; absent means that it needs none.
    Pods are replaced one by one."""
    temperature: Temperature = 0.0
    """Sampling temperature of the user's turns; 0, the default, is greedy."""
    max_tokens: Int = Field(default=USER_MAX_TOKENS, ge=1, le=65536)
    """Longest turn of the user, in tokens."""
    elastic: Elastic | None = None
    """Sizes of the `VLLM` engine that the operator may choose by what the cluster can give; absent
    means that it has `replicas` pods."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the `VLLM` pods. Pods are replaced one by one."""
    worker: ContainerResources = ContainerResources()
    """Resources of the container `worker`, which keeps the engine's weights up to date."""


class Coordinator(ApiModel):
    """The pod that owns the dataset cursor, the ledger, membership and weight versions."""

    edits: ClassVar[Edits] = IMMUTABLE

    transitions: ClassVar[tuple[Transition, ...]] = (role_rules.KEPT_CLASS, role_rules.KEPT_SIZE)

    storage_class_name: ObjectName | None = None
    """StorageClass of the ledger's volume. Absent means that the ledger lives as long as the
    pod, and that its snapshot in every checkpoint is what survives."""
    volume_size: Quantity = "10Gi"
    """Size of the ledger's volume; used with `storageClassName` only."""
    template: PodTemplate = PodTemplate()
    """Image, environment and resources of the coordinator's pod."""
