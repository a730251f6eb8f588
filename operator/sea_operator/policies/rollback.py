"""`spec.checkpoint.rollbackTo`: asked for, looked at, gone back to, once per value. Pure.

`status.rollback` is the memory. The coordinator looks whether the checkpoint is sound while
training goes on; only then another attempt begins, which goes back. A request is known by the
generation of the spec that first had it, and is sent only once the status has that: a status write
that failed would otherwise give the same value another generation, and it would happen twice.
"""

from sea_api.redaction import redacted_to
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.status import RollbackRequest
from sea_api.wire.coordinator_spec import RollbackOrder
from sea_api.wire.state import RollbackCheck
from sea_operator.observed import Observed

CHECKING, REFUSED, GOING_BACK, DONE = "Checking", "Refused", "GoingBack", "Done"
ENDED = (
    "Stage {} has ended and stays as it is: remove checkpoint.rollbackTo. Another job can go on "
    "from its checkpoints (startFrom)."
)
OLDER_COORDINATOR = (
    "The coordinator is of a release that can't go back: set spec.suspend to true and back, which "
    "replaces its pod."
)
MAX_MESSAGE = 1024
"""Bound of the message in the CRD."""


def request(
    observed: Observed, spec: Spec, next_attempt: int | None, *, begins: bool = False
) -> RollbackRequest | None:
    """How far the request of the spec is; None without one.

    Args:
        next_attempt: the attempt that may begin now; None if none may.
        begins: it does, for another reason, such as the edit that made the request.
    """
    wanted, before = spec.checkpoint.rollback_to, observed.job.status.rollback
    if wanted is None:
        return None
    if before is None or (before.stage, before.step) != (wanted.stage, wanted.step):
        found = RollbackRequest(
            stage=wanted.stage,
            step=wanted.step,
            generation=observed.job.generation,
            state=CHECKING,
        )
    else:
        found = _followed(before, _check(observed, before), next_attempt)
    if begins and next_attempt is not None and _goes_along(observed, found):
        found = _going(found, next_attempt)
    # The coordinator says so too, but not of a complete job, which has none any more.
    if found.state != DONE and _has_ended(observed, spec, found.stage):
        return _refused(found, ENDED.format(found.stage))
    # Such a coordinator ignores the order. Another one looks at it as at any that is refused.
    # One that went along with an attempt, while the coordinator was silent, is ignored as well.
    waits = found.state in (CHECKING, GOING_BACK)
    if waits and observed.state and observed.state.rank_pods is None:
        return _refused(found, OLDER_COORDINATOR)
    return found


def _refused(request: RollbackRequest, why: str) -> RollbackRequest:
    update = {"state": REFUSED, "message": redacted_to(why, MAX_MESSAGE), "attempt": None}
    return request.model_copy(update=update)


def _has_ended(observed: Observed, spec: Spec, stage: str) -> bool:
    ended = spec.stages[: observed.job.status.stages_ended or 0]
    return any(one.name == stage for one in ended)


def _check(observed: Observed, before: RollbackRequest) -> RollbackCheck | None:
    found = observed.state.rollback_check if observed.state else None
    return found if found is not None and found.generation == before.generation else None


def _followed(
    before: RollbackRequest, check: RollbackCheck | None, next_attempt: int | None
) -> RollbackRequest:
    if before.state == DONE or check is None:
        return before
    if check.done:
        return before.model_copy(update={"state": DONE, "message": ""})
    if check.problem:
        return _refused(before, check.problem)
    if before.attempt is not None or next_attempt is None:
        return before
    return _going(before, next_attempt)


def _going(request: RollbackRequest, attempt: int) -> RollbackRequest:
    return request.model_copy(update={"state": GOING_BACK, "message": "", "attempt": attempt})


def _goes_along(observed: Observed, now: RollbackRequest) -> bool:
    """Whether an attempt that begins anyway goes back, although nobody has looked yet.

    A job that failed or was suspended has no coordinator that could. Its first attempt waits for
    the look (`Rendezvous`), and trains from the newest checkpoint if this one isn't sound. Not
    where a coordinator might hear of the attempt first: the order is sent once the status has it.
    """
    return now.state == CHECKING and observed.state is None


def begins(observed: Observed, now: RollbackRequest | None) -> bool:
    """Whether another attempt begins in order to go back."""
    if now is None or now.attempt is None:
        return False
    before = observed.job.status.rollback
    return before is None or before.attempt != now.attempt


def order(observed: Observed, now: RollbackRequest | None) -> RollbackOrder | None:
    """What the coordinator is asked for; None once the status says that it was done."""
    stored = observed.job.status.rollback
    if now is None or stored is None or stored.generation != now.generation:
        return None
    if stored.state == DONE:
        return None
    return RollbackOrder(
        stage=now.stage, step=now.step, generation=now.generation, attempt=now.attempt
    )


def note(now: RollbackRequest | None) -> str | None:
    """What a person should know of a request that isn't done."""
    if now is None or now.state == DONE:
        return None
    target = f"step {now.step} of stage {now.stage}"
    if now.state == REFUSED:
        return f"checkpoint.rollbackTo is refused: {now.message}"
    if now.state == GOING_BACK:
        return f"Attempt {now.attempt} goes back to {target}."
    return f"The checkpoint of {target} is looked at, to go back to it."
