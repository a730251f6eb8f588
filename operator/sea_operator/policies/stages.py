"""The walk through `spec.stages`: which runs now, and whether all are done.

The walk never goes back. A stage that was left behind has its results in the object store; a
coordinator that lost its ledger and forgot about it must not run it again.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.status import Status
from sea_api.wire.state import CoordinatorState, StagePhase
from sea_operator.policies.terminal import condition


@dataclass(frozen=True)
class Walk:
    """Where the job is in its program."""

    index: int
    """Stage that runs now; the last one when all are done."""
    complete: bool = False


def walk(spec: Spec, status: Status, state: CoordinatorState | None) -> Walk:
    """The stage after all that the coordinator calls Complete or the status left behind."""
    done = _finished(state) | _last_of_complete(status)
    reached = position(spec, status.stage) or 0
    for index in range(reached, len(spec.stages)):
        if spec.stages[index].name not in done:
            return Walk(index)
    return Walk(len(spec.stages) - 1, complete=True)


def position(spec: Spec, stage: str | None) -> int | None:
    """Index of a stage by name, None if the spec has none of this name."""
    names = [stage.name for stage in spec.stages]
    return names.index(stage) if stage in names else None


def _finished(state: CoordinatorState | None) -> frozenset[str]:
    stages = state.stages if state else []
    return frozenset(stage.name for stage in stages if stage.phase is StagePhase.COMPLETE)


def _last_of_complete(status: Status) -> frozenset[str]:
    """The stage of a job that was complete before stages were appended to it."""
    complete = condition(status, "Complete")
    is_complete = complete is not None and complete.status == "True"
    return frozenset({status.stage}) if is_complete and status.stage else frozenset()
