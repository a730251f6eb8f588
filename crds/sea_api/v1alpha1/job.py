"""The SEATrainingJob resource: spec and status."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from sea_api.v1alpha1 import names, role_rules, stage_rules
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.data import Data, Model, StartFrom, Storage
from sea_api.v1alpha1.domains import Domain
from sea_api.v1alpha1.edits import NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.names import GROUP, KIND, PLURAL, SHORT_NAME, VERSION
from sea_api.v1alpha1.pods import Scheduling
from sea_api.v1alpha1.policy import Checkpoint, FailurePolicy, Weights
from sea_api.v1alpha1.roles import Coordinator, Rollout, Trainer, UserModel
from sea_api.v1alpha1.rules import Rule, Transition, immutable
from sea_api.v1alpha1.stages import Stage
from sea_api.v1alpha1.status import Status
from sea_api.v1alpha1.trainer_memory import OPTIMIZER_PRECISION
from sea_api.v1alpha1.types import Bool, Manager
from sea_api.v1alpha1.verifier import Verifier

__all__ = ["GROUP", "KIND", "PLURAL", "SHORT_NAME", "VERSION", "SEATrainingJob", "Spec"]


class Spec(ApiModel):
    """What the user wants."""

    edits: ClassVar[Edits] = NEXT_STEP.but(Effect.NEXT_STAGE, "stages").but(
        Effect.IMMUTABLE, "managed_by", "start_from"
    )

    invariants: ClassVar[tuple[Rule, ...]] = (
        stage_rules.DIALOGUES,
        stage_rules.TASKS,
        stage_rules.EVALUATION_TASKS,
        stage_rules.USER_ENGINE,
        stage_rules.REPLAYED,
        stage_rules.KNOWN_STARTS,
        stage_rules.TURN_LENGTH,
        stage_rules.ROLLBACK_STAGE,
        stage_rules.STARTING_STAGE,
        role_rules.RESIZE_NEEDS_RANGE,
        OPTIMIZER_PRECISION,
    )
    transitions: ClassVar[tuple[Transition, ...]] = (
        stage_rules.KEPT_STAGES,
        stage_rules.KEPT_START,
        immutable(
            "managedBy",
            "managed_by",
            "two controllers would take the job from each other; create another job instead",
        ),
    )

    managed_by: Manager = names.MANAGER
    """Controller that runs the job. With any other value than the default, such as
    `kueue.x-k8s.io/multikueue`, this operator does nothing: no pods, no status."""
    suspend: Bool = False
    """Commit a checkpoint, then release all pods; false again resumes from there."""
    model: Model
    """Base model and its number format."""
    storage: Storage
    """Object store of the job."""
    start_from: StartFrom | None = None
    """Checkpoint of another run that the first stage goes on from, with weights, optimizer, ledger
    and place in the data. Absent, the default, begins with `model.source`."""
    data: Data = Data()
    """Dialogues, tasks and databases of the stages."""
    domains: Annotated[list[Domain], stage_rules.UNIQUE_DOMAINS] = Field(
        min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Environments that the agent learns to work in: built-in ones by name, those of other
    packages as `PACKAGE:NAME`, which the images of coordinator and rollout must then contain."""
    stages: Annotated[list[Stage], stage_rules.UNIQUE_STAGES] = Field(
        min_length=1,
        max_length=stage_rules.MAX_STAGES,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """The program, in order. Stages may be appended while the job runs."""
    trainer: Trainer = Trainer()
    """Pods that train."""
    rollout: Rollout = Rollout()
    """Pods that generate."""
    user_model: UserModel = UserModel()
    """The simulated customer."""
    verifier: Verifier = Verifier()
    """How episodes are scored."""
    coordinator: Coordinator = Coordinator()
    """The pod that owns the ledger."""
    weights: Weights = Weights()
    """Transport and retention of weight versions."""
    checkpoint: Checkpoint = Checkpoint()
    """Interval and retention of checkpoints."""
    failure_policy: FailurePolicy = FailurePolicy()
    """What happens when a pod or process fails."""
    scheduling: Scheduling = Scheduling()
    """Where the pods may run."""


class SEATrainingJob(ApiModel):
    """One agentic RL post-training run, from base model to evaluated agent."""

    invariants: ClassVar[tuple[Rule, ...]] = (names.NAME_LENGTH, names.NAME_FORM)
    transitions: ClassVar[tuple[Transition, ...]] = (
        stage_rules.ENDED_STAGES,
        stage_rules.BEGUN_STAGES,
    )

    api_version: str = Field(default=f"{GROUP}/{VERSION}", max_length=128)
    kind: str = Field(default=KIND, max_length=64)
    metadata: dict[str, Any] = {}
    spec: Spec
    """What the user wants."""
    status: Status = Status()
    """What the operator last saw."""
