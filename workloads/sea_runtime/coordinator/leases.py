"""Who runs which episode: handing out, taking results, and taking back from workers that are gone.

A lease belongs to one pod in one life of its worker. Every hand-out has a new id, so a result that
arrives after its lease was taken back finds nothing and is refused: each episode is counted once.
"""

import json
import logging
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.verifier import FunctionLimits, Judge
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.ledger import episodes
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.ledger.groups import EpisodeState, GroupFilter
from sea_runtime.wire.rollouts import (
    EpisodeKind,
    EpisodeResult,
    Lease,
    LeaseRequest,
    UserSettings,
)

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 13
"""In an encoded trajectory: token, log-probability and version of 4 bytes each, mask of 1."""


@dataclass(frozen=True)
class Sampling:
    """How the episodes of the running stage are generated."""

    temperature: float
    max_tokens_per_turn: int
    max_turns: int
    context_length: int
    user: UserSettings
    judge: Judge | None
    functions: FunctionLimits
    max_repeats: int
    max_messages: int | None = None
    max_tool_errors: int | None = None
    greeting: bool = False
    timeout_s: float = 3600.0


def user_settings(spec: Spec) -> UserSettings:
    user = spec.user_model
    return UserSettings(
        engine=user.engine,
        url=user.url,
        model=user.model or spec.model.name,
        temperature=user.temperature,
        max_tokens=user.max_tokens,
    )


def take(
    db: Database,
    request: LeaseRequest,
    *,
    stage: str,
    epoch: str,
    now: float,
    refill: Callable[[], bool],
) -> list[sqlite3.Row]:
    """Up to `want` episodes for a worker: lost ones first, then the oldest pending, then new ones.

    Args:
        epoch: changes when the ledger was restored, so that no old lease id comes back.
        refill: issues one more group if the gate allows; False if it doesn't.
    """
    worker = Worker(request.pod, request.incarnation)
    # Not durable: a power failure undoes the newest leases, and their episodes run once more.
    with db.transaction():
        found = lost(db, request, stage)[: request.want]
        missing = request.want - len(found)
        # One group at a time, and only as many as this request can take: prompts are drawn as late
        # as possible. `refill` runs inside this transaction.
        while episodes.count_pending(db, stage, missing) < missing and refill():
            pass
        chosen = episodes.pending(db, stage, missing) if missing > 0 else []
        for row in chosen:
            episodes.lease(db, row, worker, epoch, now)
        keys = [(row["group_number"], row["sample"]) for row in [*found, *chosen]]
        # Read again: `lease` has changed id, attempt and owner.
        return [episodes.by_place(db, number, sample) for number, sample in keys]


def lost(db: Database, request: LeaseRequest, stage: str) -> list[sqlite3.Row]:
    """Leases that the worker was given by an answer which never reached it."""
    # The caller doesn't know: nothing may be handed out twice on a guess.
    if request.holding is None:
        return []
    known = set(request.holding)
    return [
        row
        for row in episodes.leased_to(db, Worker(request.pod, request.incarnation))
        # Of this stage only: the answer is built with the running stage's sampling.
        if row["lease_id"] not in known and row["stage"] == stage
    ]


def message(row: sqlite3.Row, sampling: Sampling) -> Lease:
    """The wire form of a leased episode."""
    return Lease(
        lease_id=row["lease_id"],
        kind=EpisodeKind(row["kind"]),
        group_id=row["group_id"],
        sample=row["sample"],
        domain=row["domain"],
        task=json.loads(row["task"]),
        database=row["database"],
        seed=row["seed"],
        temperature=sampling.temperature,
        max_tokens_per_turn=sampling.max_tokens_per_turn,
        max_turns=sampling.max_turns,
        context_length=sampling.context_length,
        user=sampling.user,
        judge=sampling.judge,
        functions=sampling.functions,
        max_repeats=sampling.max_repeats,
        max_messages=sampling.max_messages,
        max_tool_errors=sampling.max_tool_errors,
        greeting=sampling.greeting,
        timeout_s=sampling.timeout_s,
    )


def accept(
    db: Database,
    result: EpisodeResult,
    now: float,
    rule_of: Callable[[str], GroupFilter] = lambda stage: GroupFilter(),
    *,
    file: str | None = None,
) -> bool:
    """Records a result; False if the lease is no longer this worker's.

    `file` has the trajectory's bytes if it is large; `rule_of` gives the filter of the stage of a
    name.

    The same result sent again (its answer got lost) is acknowledged and not counted again.
    """
    with db.transaction():
        row = episodes.by_lease(db, result.lease_id)
        if row is None or (row["pod"], row["incarnation"]) != (result.pod, result.incarnation):
            return False
        # Sent again because the answer got lost: acknowledged, but not counted twice.
        # Cancelled (the stage or the group ended) is refused, so that the worker forgets it.
        if row["state"] != EpisodeState.LEASED:
            return row["state"] == EpisodeState.DONE or bool(row["stop"])
        rule = rule_of(row["stage"])
        if result.never_asked:
            episodes.end_unasked(db, row, result, now, rule)
            return True
        fault = _fault(row, result)
        if fault:
            log.warning("%s: %s", result.lease_id, fault)
            episodes.fail(db, row, fault, now, reported=True)
        else:
            episodes.finish(db, row, result, now, file=file, rule=rule)
        return True


def _fault(row: sqlite3.Row, result: EpisodeResult) -> str:
    """Why an episode must be run again; empty if its result counts."""
    # NaN or infinity would spread into the group's mean and the trainer's advantages.
    if result.reward is None or not math.isfinite(result.reward):
        return result.error or "The worker reported no reward and no reason."
    if row["kind"] == EpisodeKind.EVAL and result.trajectory is None:
        return ""
    if result.trajectory is None:
        return "The worker sent a reward without a trajectory."
    if not result.generated_tokens:
        return f"The trajectory has no generated token, but {result.turns} turn(s) of the agent."
    return ""


def require_sound(result: EpisodeResult) -> None:
    """Checks what a worker says about a trajectory; the bytes are checked where they are decoded.

    Raises:
        RefusedError: the summary contradicts itself.
    """
    version = result.mean_version
    if version is not None and not math.isfinite(version):
        raise RefusedError(f"'mean_version' must be a finite number, it is {version}.")
    if result.trajectory is None:
        return
    if result.generated_tokens * BYTES_PER_TOKEN > len(result.trajectory):
        raise RefusedError(
            f"The trajectory has {len(result.trajectory)} bytes, too few for "
            f"{result.generated_tokens} generated tokens."
        )
    if (version is None) != (result.generated_tokens == 0):
        raise RefusedError(
            f"{result.generated_tokens} generated tokens can't have the mean version {version}."
        )


def release(db: Database, lease_id: str, worker: Worker) -> bool:
    """Gives an unfinished episode back; False if the lease is no longer this worker's."""
    with db.transaction():
        row = episodes.by_lease(db, lease_id)
        # Refused, not ignored: the episode may run elsewhere under a newer lease id.
        if row is None or (row["pod"], row["incarnation"]) != (worker.pod, worker.incarnation):
            return False
        if row["state"] == EpisodeState.LEASED:
            episodes.give_back(db, row)
        return True


def expire(db: Database, gone: Callable[[Worker], str | None], now: float) -> int:
    """Takes back the leases of workers that are gone; returns how many.

    Args:
        gone: why a worker counts as gone, None if it doesn't.
    """
    with db.transaction():
        return sum(
            _take_back(db, worker, reason, now)
            # From the ledger, not from memory: after a restart it knows
            # workers that never called again.
            for worker in episodes.owners(db)
            if (reason := gone(worker))
        )


def expire_overdue(db: Database, deadline: float, now: float) -> int:
    """Takes back leases that are older than `deadline` seconds; returns how many."""
    reason = f"No result within {deadline:.0f} s of the lease, though its worker lives."
    with db.transaction():
        old = episodes.leased_before(db, now - deadline)
        return sum(_fail(db, row["lease_id"], reason, now) for row in old)


def _take_back(db: Database, worker: Worker, reason: str, now: float) -> int:
    held = episodes.leased_to(db, worker)
    return sum(_fail(db, row["lease_id"], reason, now) for row in held)


def _fail(db: Database, lease_id: str, reason: str, now: float) -> bool:
    """Whether the episode was still leased."""
    current = episodes.by_lease(db, lease_id)
    # Giving up on one episode cancels its siblings in the same pass.
    if current is None or current["state"] != EpisodeState.LEASED:
        return False
    episodes.fail(db, current, reason, now, reported=False)
    return True
