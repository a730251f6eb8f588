"""The pods of a job: trainer, rollout engines, user model, and where they may run."""

from enum import StrEnum

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel


class UserEngine(StrEnum):
    VLLM = "Vllm"
    EXTERNAL = "External"
    SCRIPTED = "Scripted"


class TrainerParallelism(ApiModel):
    tensor: int = Field(default=1, ge=1, le=1024)
    pipeline: int = Field(default=1, ge=1, le=1024)
    context: int = Field(default=1, ge=1, le=1024)
    expert: int = Field(default=1, ge=1, le=1024)
    expert_tensor: int = Field(default=1, ge=1, le=1024)


class RolloutParallelism(ApiModel):
    tensor: int = Field(default=1, ge=1, le=1024)
    expert: int = Field(default=1, ge=1, le=1024)


class Elastic(ApiModel):
    min_replicas: int = Field(ge=1, le=10000)
    max_replicas: int = Field(ge=1, le=10000)


class EnvVar(ApiModel):
    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: str = Field(max_length=4096)


class PodTemplate(ApiModel):
    """What a user may set on a role's pods."""

    image: str | None = Field(default=None, max_length=512)
    """Image of the role; by default the one the operator was installed with."""
    env: list[EnvVar] = Field(default=[], max_length=64)
    requests: dict[str, str] = Field(default={}, max_length=16)
    """Resource requests of the main container, by resource name."""
    limits: dict[str, str] = Field(default={}, max_length=16)
    node_selector: dict[str, str] = Field(default={}, max_length=16)


class Trainer(ApiModel):
    replicas: int = Field(default=1, ge=1, le=10000)
    gpus_per_pod: int = Field(default=8, ge=0, le=64)
    """0 trains on the CPU with one process a pod."""
    parallelism: TrainerParallelism = TrainerParallelism()
    elastic: Elastic | None = None
    template: PodTemplate = PodTemplate()


class Rollout(ApiModel):
    replicas: int = Field(default=1, ge=0, le=10000)
    gpus_per_pod: int = Field(default=8, ge=0, le=64)
    parallelism: RolloutParallelism = RolloutParallelism()
    elastic: Elastic | None = None
    template: PodTemplate = PodTemplate()


class UserModel(ApiModel):
    engine: UserEngine = UserEngine.SCRIPTED
    replicas: int = Field(default=1, ge=1, le=10000)
    """Pods of the `Vllm` engine."""
    gpus_per_pod: int = Field(default=8, ge=0, le=64)
    parallelism: RolloutParallelism = RolloutParallelism()
    source: str | None = Field(default=None, max_length=1024, pattern=r"^(s3://.+|hf://.+|builtin:tiny)$")
    """Weights the `Vllm` engine starts from; by default the job's base model."""
    url: str | None = Field(default=None, max_length=1024, pattern=r"^https?://.+$")
    """OpenAI-compatible base URL of the `External` engine."""
    model: str | None = Field(default=None, max_length=256)
    """Model name to ask the `External` engine for."""
    api_key_secret: str | None = Field(default=None, max_length=253)
    """Secret with OPENAI_API_KEY for the `External` engine."""
    temperature: float = Field(default=0.0, ge=0, le=10)
    max_tokens: int = Field(default=2048, ge=1, le=65536)
    template: PodTemplate = PodTemplate()


class Coordinator(ApiModel):
    storage_class_name: str | None = Field(default=None, max_length=253)
    """StorageClass of the ledger's volume; without it the ledger lives as long as the pod and
    its snapshot in every checkpoint is what survives."""
    volume_size: str = Field(default="10Gi", max_length=32)
    template: PodTemplate = PodTemplate()


class Toleration(ApiModel):
    key: str | None = Field(default=None, max_length=316)
    operator: str | None = Field(default=None, max_length=16)
    value: str | None = Field(default=None, max_length=63)
    effect: str | None = Field(default=None, max_length=32)


class Scheduling(ApiModel):
    queue_name: str | None = Field(default=None, max_length=253)
    """Kueue LocalQueue; sets `kueue.x-k8s.io/queue-name` on the pods."""
    priority_class_name: str | None = Field(default=None, max_length=253)
    topology: str | None = Field(default=None, max_length=316)
    """Node label within one value of which the trainer's pods must run (a rail or NVLink domain)."""
    node_selector: dict[str, str] = Field(default={}, max_length=16)
    tolerations: list[Toleration] = Field(default=[], max_length=16)
