"""`PUT /v1/spec`: everything that the operator wants from a job's coordinator, idempotent."""

from sea_api.lenient import OfAnyRelease
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.job import Spec


class NodeGpu(ApiModel):
    """GPUs of the nodes that a role's pods may run on, as the nodes are labeled."""

    product: str
    """As in `NVIDIA-H100-80GB-HBM3`."""
    memory_mib: int | None = None
    """Of one GPU."""


class RollbackOrder(ApiModel):
    """A checkpoint to go back to (`spec.checkpoint.rollbackTo`)."""

    stage: str
    step: int
    generation: int
    """Identifies the request: each is carried out once."""
    attempt: int | None = None
    """Trainer attempt that begins with it; None: only look whether it can be gone back to."""


class CoordinatorSpec(OfAnyRelease):
    """Sent again until `CoordinatorState.spec_digest` equals `digest`."""

    digest: str
    """Hash of the rest, computed by the operator."""
    job: str
    uid: str
    spec_generation: int
    """`metadata.generation` of the resource this was derived from."""
    spec: Spec
    stage_index: int
    """Which of `spec.stages` runs now."""
    attempt: int
    """Trainer attempt; the coordinator never goes back to a smaller one."""
    trainer_size: int | None = None
    """Trainer pods that hold ranks; None means all of `spec.trainer.replicas`. Another size than
    the running attempt's ends that attempt after a checkpoint; the next one takes it."""
    trainer_pods: int | None = None
    """Pods that the trainer's StatefulSet asks for; None means `spec.trainer.replicas`."""
    gpus: dict[str, NodeGpu] = {}
    """By role's label (`trainer`); roles whose nodes don't say, or differ, are left out."""
    drain: bool = False
    """Commit a checkpoint, then let no training process run (suspend, deletion, resize)."""
    rollback: RollbackOrder | None = None
    """What to go back to; None once the operator has recorded that it was done."""
    images: dict[str, str] = {}
    """Image that each role's newest pod ran, with its digest, for the run's record."""
    run_url: str
    """`s3://bucket/prefix/<name>-<uid8>`: root of everything this run writes."""
