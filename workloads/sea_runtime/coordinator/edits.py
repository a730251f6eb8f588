"""Edits of the running job: what changed, and from which step of which stage it holds.

The trainer reads the spec before every step and reports which generation it followed, so the first
step of an edit's generation is the one that it holds from. The operator shows the sentence.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from sea_api.v1alpha1.base import Change, changes
from sea_api.v1alpha1.edits import Effect
from sea_api.v1alpha1.stages import Stage
from sea_api.v1alpha1.status import SpecEdit
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import StagePhase
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import groups, stages
from sea_runtime.coordinator.ledger.database import Database, Ledger
from sea_runtime.wire.trainer import StageDone, StageProgress

DOCUMENT = "edit"
MAX_NAMED = 8
MAX_MESSAGE = 1024
"""Bound of the message in the CRD."""
SHOWN_ELSEWHERE = ("suspend", "replicas", "rollbackTo")
"""Names of fields whose edits the job's status shows by itself."""


class When(StrEnum):
    """When a change holds, given how far its stage is."""

    STEP = "step"
    LATER = "later"
    ATTEMPT = "attempt"
    NEVER = "never"


class Edit(BaseModel):
    """The newest edit, as the ledger keeps it."""

    generation: int
    fields: dict[When, list[str]]
    stage: str | None = None
    """Training stage that follows it, None if none runs."""
    step: int | None = None
    """The first step that followed it, None until one has."""
    ended: bool = False
    """The stage ended by it, after `step`."""
    note: str = ""
    """What follows from it besides, a sentence."""


def when(change: Change, phases: dict[str, StagePhase]) -> When:
    """Pure. `phases`: of the job's stages; one that has ended counts as complete."""
    phase = phases.get(change.item) if change.path.startswith("stages[") else None
    if phase is StagePhase.COMPLETE or (
        phase is StagePhase.RUNNING and change.effect is Effect.NEXT_STAGE
    ):
        return When.NEVER
    if phase is StagePhase.PENDING or change.effect is Effect.NEXT_STAGE:
        return When.LATER
    return When.ATTEMPT if change.effect is Effect.NEW_ATTEMPT else When.STEP


def sentence(edit: Edit) -> str:
    """What a person should know of the edit. Pure."""
    if edit.stage is None:
        step = "at once"
    elif edit.step is None:
        step = f"from the next step of stage '{edit.stage}' on"
    elif edit.ended:
        step = f"from the end of stage '{edit.stage}' after step {edit.step} on"
    else:
        step = f"from step {edit.step} of stage '{edit.stage}' on"
    texts = {
        When.STEP: f"{{}} {step}",
        When.LATER: "{} when the stage begins",
        When.ATTEMPT: "{} once the pods that read it are replaced",
        When.NEVER: "without effect, since the stage has begun or ended: {}",
    }
    parts = [
        texts[kind].format(_named(edit.fields[kind])) for kind in When if edit.fields.get(kind)
    ]
    text = "; ".join(parts)
    # The note first where both don't fit: the fields can be read in the job.
    note = f" {edit.note}" if edit.note else ""
    return f"The edit holds: {text}."[: MAX_MESSAGE - len(note)] + note


def smaller_batches(before: Stage, now: Stage, waiting: int) -> str:
    """Which batches are staler than `maxStaleness` after an edit made them smaller; empty if none
    is. Pure.

    Groups were started for batches of the size before, and each is trained on: they make more
    batches than the staleness gate would have let start.

    Args:
        waiting: groups that run, or wait for a batch.
    """
    if before.rl is None or now.rl is None or now.rl.prompts_per_step >= before.rl.prompts_per_step:
        return ""
    size, bound = now.rl.prompts_per_step, now.rl.max_staleness + 1
    batches = -(-waiting // size)
    if batches <= bound:
        return ""
    return (
        f"{waiting} groups were started for batches of {before.rl.prompts_per_step}: they make "
        f"{batches} batches of {size}, of which those after the first {bound} are staler than "
        f"maxStaleness ({now.rl.max_staleness}); then the bound holds again."
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


class Edits:
    """The newest edit and the step it holds from."""

    def __init__(self, job: Job, ledger: Ledger) -> None:
        self._job, self._ledger = job, ledger

    def write_spec(
        self, db: Database, before: CoordinatorSpec | None, now: CoordinatorSpec
    ) -> None:
        """Notes what changed, with the spec in its transaction."""
        if before is None or before.spec == now.spec:
            return
        phases = {stage.name: _phase(db, stage.name) for stage in now.spec.stages}
        fields = _sorted(changes(before.spec, now.spec), phases)
        if not fields:
            return
        running = stage_plan.training_stage(now)
        stage = running.name if running and phases[running.name] is StagePhase.RUNNING else None
        note = _note(db, before, now, stage)
        known = db.document(DOCUMENT, Edit)
        # An edit that no step has followed yet becomes part of this one.
        if known is not None and known.stage == stage is not None and known.step is None:
            fields = _merged(known.fields, fields)
            note = note or known.note
        edit = Edit(generation=now.spec_generation, fields=fields, stage=stage, note=note)
        db.put_document(DOCUMENT, edit)

    def followed(self, stage: str, row: StageProgress) -> None:
        """A step was reported: the first of the edit's generation is where it holds from."""
        edit = self._ledger.db.document(DOCUMENT, Edit)
        if edit is None or edit.step is not None or edit.stage != stage:
            return
        if row.spec_generation >= edit.generation:
            self._ledger.db.put_document(DOCUMENT, edit.model_copy(update={"step": row.step}))

    def ended(self, stage: str, message: StageDone) -> None:
        """A stage ended: by the edit, or before any step of it could follow."""
        edit = self._ledger.db.document(DOCUMENT, Edit)
        if edit is None or edit.step is not None or edit.stage != stage:
            return
        if message.spec_generation >= edit.generation:
            after: dict[str, Any] = {"step": message.step, "ended": True}
        else:
            after = {"stage": None, "fields": _too_late(edit.fields, stage)}
        self._ledger.db.put_document(DOCUMENT, edit.model_copy(update=after))

    @property
    def newest(self) -> SpecEdit | None:
        """The newest edit, for the operator."""
        edit = self._ledger.db.document(DOCUMENT, Edit)
        return (
            None if edit is None else SpecEdit(generation=edit.generation, message=sentence(edit))
        )


def _note(db: Database, before: CoordinatorSpec, now: CoordinatorSpec, stage: str | None) -> str:
    old, new = (
        next((one for one in desired.spec.stages if one.name == stage), None)
        for desired in (before, now)
    )
    if old is None or new is None:
        return ""
    waiting = groups.running(db, new.name) + groups.admitted(db, new.name)
    return smaller_batches(old, new, waiting)


def _phase(db: Database, stage: str) -> StagePhase:
    ended = stages.finished_at(db, stage) is not None
    return StagePhase.COMPLETE if ended else stages.phase(db, stage)


def _sorted(found: Iterable[Change], phases: dict[str, StagePhase]) -> dict[When, list[str]]:
    fields: dict[When, list[str]] = {}
    for change in found:
        if not set(SHOWN_ELSEWHERE) & set(change.path.split(".")):
            fields.setdefault(when(change, phases), []).append(change.path)
    return fields


def _too_late(fields: dict[When, list[str]], stage: str) -> dict[When, list[str]]:
    """Settings of the stage that ended have no effect; those of the job hold for what follows."""
    own = [path for path in fields.get(When.STEP, []) if path.startswith(f"stages[{stage}]")]
    others = [path for path in fields.get(When.STEP, []) if path not in own]
    return {**fields, When.STEP: others, When.NEVER: [*fields.get(When.NEVER, []), *own]}


def _merged(first: dict[When, list[str]], second: dict[When, list[str]]) -> dict[When, list[str]]:
    return {
        kind: list(dict.fromkeys([*first.get(kind, []), *second.get(kind, [])]))
        for kind in When
        if kind in first or kind in second
    }
