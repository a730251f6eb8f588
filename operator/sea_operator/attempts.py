"""Which attempt of the trainer runs, when another begins, and what happens with it. Pure.

Many things may ask for another attempt in the same pass; it is one attempt for all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import RollbackRequest
from sea_operator import sizing
from sea_operator.elasticity import GROWING
from sea_operator.observed import Observed
from sea_operator.pods import Pod
from sea_operator.policies import phase, rollback, secret_rotation
from sea_operator.policies.failure_policy import Verdict
from sea_operator.policies.phase import resumes
from sea_operator.policies.role_sizes import resized


def known_attempt(observed: Observed) -> int:
    """Number of the attempt that runs."""
    # The larger of both: an attempt number never goes back, whichever of status and
    # ledger was lost or restored.
    stored = observed.job.status.trainer_attempt or 1
    return max(1, stored, observed.state.attempt if observed.state else 0)


def attempt_of(
    observed: Observed,
    spec: Spec,
    verdict: Verdict | None,
    fenced: tuple[str, ...],
    *,
    another_size: bool,
) -> int:
    """The attempt number: one higher if the trainer must restart, for however many reasons.

    A fenced pod may still exist in later passes (a finalizer holds it, or its deletion fails), so
    only pods that aren't in `status.fenced` yet count as a reason.
    """
    status = observed.job.status
    restart = (
        (verdict is not None and verdict.new_attempt)
        or resumes(spec.suspend, status)
        or phase.retries(observed.job)
        or not set(fenced) <= set(status.fenced or ())
        or another_size
        or made_room(observed)
    )
    return known_attempt(observed) + (1 if restart else 0)


def made_room(observed: Observed) -> bool:
    """Whether the running attempt has ended with its checkpoint for another size."""
    state = observed.state
    return state is not None and state.resized_attempt == known_attempt(observed)


def is_another_size(observed: Observed, sized: sizing.Sizing) -> bool:
    """True if a running job gets another size. Not for a draining one: a new size would end the
    attempt whose checkpoint the drain waits for."""
    return resized(observed.job.status, sized.working) or _stays(observed, sized)


def grows(sized: sizing.Sizing) -> bool:
    trainer = sized.elastic.roles.get(Role.TRAINER)
    return trainer is not None and trainer.state == GROWING


def _stays(observed: Observed, sized: sizing.Sizing) -> bool:
    """Whether an edit takes back that the trainer grows, whose processes may have ended for it."""
    last, now = observed.job.status.elastic, sized.elastic.roles.get(Role.TRAINER)
    grew = last is not None and last.trainer is not None and last.trainer.state == GROWING
    return grew and (now is None or now.state != GROWING)


@dataclass(frozen=True)
class Begun:
    """The attempt of this pass, and what happens with one that begins."""

    attempt: int
    secrets: Mapping[Role, str]
    """Digests of the Secrets that each role's pods are started with."""
    renewed: tuple[Pod, ...]
    """Pods that take the new values of their Secrets now."""
    rollback: RollbackRequest | None
    """The checkpoint that is gone back to."""
    notes: tuple[str | None, ...]
    """What a person should know of both."""


def begin(
    observed: Observed,
    spec: Spec,
    attempt: int,
    *,
    runs: bool,
    ends: bool,
    frozen: frozenset[Role] = frozenset(),
) -> Begun:
    """Secrets are renewed, and checkpoints gone back to, with an attempt that begins for another
    reason, or with one of their own.

    Args:
        attempt: as all other reasons have it.
        runs: the job isn't over or suspended.
        ends: it is over, or this pass finds that it is.
        frozen: roles whose pods can't be replaced now.
    """
    known = known_attempt(observed)
    secrets = secret_rotation.digests(observed, spec, frozen)
    renews = runs and not ends
    outdated = secret_rotation.outdated(observed, secrets) if renews else ()
    outdated = tuple(pod for pod in outdated if pod.role not in frozen)
    renewed, note = _renewal(observed, spec, outdated, restarts=attempt > known)
    if any(pod.role is Role.TRAINER for pod in renewed):
        # A trainer whose failure stalls the job would otherwise wait for an edit.
        attempt = max(attempt, known + 1)
    # With whatever else begins an attempt, or by itself.
    following = max(attempt, known + 1) if runs else None
    asked = rollback.request(observed, spec, following, begins=attempt > known)
    if following is not None and rollback.begins(observed, asked):
        attempt = following
    return Begun(attempt, secrets, renewed, asked, (note, rollback.note(asked)))


def _renewal(
    observed: Observed, spec: Spec, outdated: tuple[Pod, ...], *, restarts: bool
) -> tuple[tuple[Pod, ...], str | None]:
    """Pods that take the new values of their Secrets now, and what to say of those that wait."""
    renewed = secret_rotation.due(observed, outdated, restarts=restarts)
    waiting = tuple(pod for pod in outdated if pod not in renewed)
    return renewed, secret_rotation.note(observed, spec, waiting)
