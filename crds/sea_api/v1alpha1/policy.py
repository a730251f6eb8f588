"""Weights, checkpoints, and what happens when something fails."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from sea_api.v1alpha1 import forms
from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.edits import NEW_ATTEMPT, NEXT_STEP, Edits, Effect
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Bool, Int, Steps


class Transport(StrEnum):
    AUTO = "Auto"
    NIXL = "NIXL"
    OBJECT_STORE = "ObjectStore"


class Role(StrEnum):
    TRAINER = "Trainer"
    ROLLOUT = "Rollout"
    USER = "User"
    COORDINATOR = "Coordinator"


class Cause(StrEnum):
    """Why a pod failed. A `UserError` stalls the job until its spec is edited."""

    PROCESS_EXIT = "ProcessExit"
    HANG = "Hang"
    OUT_OF_MEMORY = "OutOfMemory"
    EVICTION = "Eviction"
    NODE_LOSS = "NodeLoss"
    USER_ERROR = "UserError"
    """Restarting can't help: a layout that doesn't fit, a wrong model folder, missing access."""
    ANY = "Any"


class Action(StrEnum):
    RESTART_PROCESS = "RestartProcess"
    RESTART_POD = "RestartPod"
    RESTART_ROLE = "RestartRole"
    RESIZE = "Resize"
    FAIL_JOB = "FailJob"


class Weights(ApiModel):
    """How weight versions travel from the trainer to the engines."""

    edits: ClassVar[Edits] = NEXT_STEP

    transport: Transport = Transport.AUTO
    """`Auto` and `NIXL` read from the memory of the trainer and of other engines, and from the
    object store where an engine can't reach that; `ObjectStore` uses the object store alone."""
    anchor_every: Int = Field(default=20, ge=1, le=100000)
    """Versions between two full copies in the object store; a stage's last version always is
    one. Where an engine reads from there, the versions between are stored as deltas."""
    retain: Int = Field(default=3, ge=1, le=1000)
    """Full copies kept per stream in the object store, with the deltas after them; older ones are
    deleted 20 minutes after a newer one took their place."""
    check_every: Int = Field(default=10, ge=1, le=100000)
    """Versions between two checks of what engines hold: after the update, before they go on, they
    sum their parameters and compare with the trainer's sums. An engine's first update always is
    checked. One that is wrong restarts."""
    keep_cache: Bool = False
    """Keep the engines' KV and prefix caches through an update: no token is computed twice, but
    the attention of later tokens reads keys and values of older weights. False, the default, drops
    them, so that every log-probability is exactly that of its version."""


class RollbackTarget(ApiModel):
    """A committed checkpoint of the stage that runs."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    stage: Annotated[str, Field(min_length=1, max_length=40), forms.STAGE_NAME]
    """Stage that goes back; it must not have ended."""
    step: Steps
    """Step of the checkpoint, as `sea checkpoint list` shows it."""


class Checkpoint(ApiModel):
    """When training state is committed to the object store and how long it stays."""

    edits: ClassVar[Edits] = NEXT_STEP.but(Effect.NEW_ATTEMPT, "grace_seconds", "rollback_to")

    every_steps: Int = Field(default=10, ge=1, le=1000000)
    """Optimizer steps between two checkpoints; a stage's last step always gets one. While the one
    before is uploaded, a checkpoint is postponed step by step, at most until the next is due."""
    keep_last: Int = Field(default=2, ge=1, le=1000)
    """Newest checkpoints kept per stage."""
    keep_every: Int | None = Field(default=None, ge=1, le=100000000)
    """Also keep the first checkpoint at or after each multiple of this step; absent means that
    only the newest are kept."""
    export_every_steps: Int | None = Field(default=None, ge=1, le=100000000)
    """Also export the weights of the first checkpoint at or after each multiple of this step, next
    to training, to `stages/<stage>/exports/step-000040/` in the run's folder; nothing deletes
    them. Absent means that only a stage's end is exported."""
    drain_seconds: Int | None = Field(default=None, ge=1, le=86400)
    """Seconds that suspending waits for the last checkpoint before the pods are released anyway.
    Absent means 180 and one more for each 200 MB of the newest checkpoint per trainer pod, or
    1800 on GPUs before the first checkpoint."""
    grace_seconds: Int | None = Field(default=None, ge=1, le=86400)
    """Seconds that a trainer pod has for a last checkpoint when it is evicted, preempted or its
    node is drained: the pod's terminationGracePeriodSeconds. It ends as soon as that is committed.
    Absent means 1800 on GPUs and 180 without; what takes the pod away may allow less."""
    max_staging_bytes: Int = Field(default=68719476736, ge=1048576, le=1099511627776)
    """Largest state, in bytes, that a training process copies to upload it in the background
    (default 64 GiB); training waits while a larger one is uploaded."""
    rollback_to: RollbackTarget | None = None
    """Go back to this checkpoint: weights, optimizer, ledger and place in the data together, in a
    new attempt; later checkpoints are deleted, except pinned ones. Happens once per value:
    `status.rollback` says how far it is. To go back to the same checkpoint again, remove the field
    and set it again. Absent, the default, never goes back by itself to a sound checkpoint."""


RESIZES_TRAINER = Rule(
    cel="self.action != 'Resize' || self.role == 'Trainer'",
    message="only the trainer is resized after a failure: choose RestartPod or RestartRole; engines"
    " follow rollout.elastic and userModel.elastic whatever takes their pods",
    holds=lambda rule: rule.action is not Action.RESIZE or rule.role is Role.TRAINER,
)


class FailureRule(ApiModel):
    """What to do when `cause` strikes a pod of `role`."""

    edits: ClassVar[Edits] = NEXT_STEP

    invariants: ClassVar[tuple[Rule, ...]] = (RESIZES_TRAINER,)

    role: Role
    """Role that the rule is about."""
    cause: Cause = Cause.ANY
    """Cause that the rule is about; `Any`, the default, matches every one except `UserError`."""
    action: Action
    """What happens, from small to large: process, pod, role, trainer size, the whole job. `Resize`,
    for the trainer with `trainer.elastic`, restarts it in place and lets it go on at a smaller size
    if its pods don't come back in time. For the trainer all but `FailJob` start a new attempt."""
    counts: Bool = True
    """Whether the restart counts against the budget, which is the default; evictions and lost nodes
    count only under a rule that names them."""


class RestartBudget(ApiModel):
    """How many counted restarts a job survives within a window of time."""

    edits: ClassVar[Edits] = NEXT_STEP

    restarts: Int = Field(default=10, ge=0, le=1000)
    """Counted restarts allowed within the window; one more fails the job. Raising it lets a
    failed job run again."""
    window_seconds: Int = Field(default=3600, ge=1, le=2592000)
    """Length of the sliding window in seconds."""


class FailurePolicy(ApiModel):
    """What happens when a pod or process fails."""

    edits: ClassVar[Edits] = NEXT_STEP

    rules: list[FailureRule] = Field(default=[], max_length=32)
    """The first rule that matches wins. If none does, the trainer's processes restart; when the
    same cause strikes the same pod again within a day, the pod is replaced, and after that all
    trainer pods; each counts. Pods of other roles are restarted by the kubelet and don't count."""
    budget: RestartBudget = RestartBudget()
    """Restarts that the job may use up."""
    ttl_seconds_after_finished: Int = Field(default=0, ge=0, le=604800)
    """Seconds for which the pod that made the job fail stays after that, with its GPUs, to look
    around in; pods of its StatefulSet with smaller numbers stay with it. By default 0: all pods go
    at once, and the run's folder keeps the ends of their logs. An edit of it doesn't start a failed
    job again."""
