"""The scheduler of episodes: who may lease now, how many groups may start, what a result changes.

A group is issued when a worker asks and the staleness gate (`staleness_gate.py`) has room; its
episodes are leased one by one (`leases.py`). State is in the ledger only.
"""

import logging
from collections.abc import Callable

from sea_api.v1alpha1.stages import Stage, StageType
from sea_env.tasks import order
from sea_runtime.coordinator import evaluation, leases, stage_plan, staleness_gate
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.leases import Sampling
from sea_runtime.coordinator.ledger import batches, groups, lineage
from sea_runtime.coordinator.ledger.database import EPOCH, Ledger
from sea_runtime.coordinator.ledger.episodes import Worker
from sea_runtime.coordinator.membership import Membership
from sea_runtime.coordinator.preconditions import Preconditions
from sea_runtime.coordinator.throughput import Rate
from sea_runtime.coordinator.weights import WeightRegistry
from sea_runtime.wire.rollouts import EpisodeKind, EpisodeResult, LeaseRequest, Leases

log = logging.getLogger(__name__)

OVERDUE_SECONDS = 60.0
"""After an episode's time-out: its worker ends it by itself before."""
OVERDUE_EVERY_SECONDS = 30.0
ROLLOUT_STAGES = (StageType.RL, StageType.EVALUATION)


class Scheduler:
    """Hands episodes to workers and takes their results."""

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        membership: Membership,
        weights: WeightRegistry,
        preconditions: Preconditions,
        notifiers: Notifiers,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._membership = job, ledger, membership
        self._weights, self._preconditions, self._notifiers = weights, preconditions, notifiers
        self._wall, self._clock = wall, clock
        self._looked_at = clock()
        self._nothing: tuple[tuple[object, ...], set[int]] = ((), set())
        """State of ledger, spec and data, and served versions for which there is nothing in it."""
        self._generated = Rate(clock)

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens of accepted episodes."""
        return self._generated.per_second()

    def lease(self, request: LeaseRequest) -> Leases | None:
        """Episodes for a worker, None while there is nothing it may do."""
        stage = self._job.running_stage
        # During a drain results are taken, but nothing new starts.
        if stage is None or request.want < 1 or self._job.desired.drain:
            return None
        if not self._may_lease(stage, request):
            return None
        served = self._served(request)
        # All workers that wait look again whenever any result arrives: one of them asks the ledger.
        if not self._may_have_changed(request, stage, served):
            return None
        if stage.type == StageType.RL and not self._fresh_enough(stage, served):
            self._note_nothing(served)
            return None
        rows = leases.take(
            self._ledger.db,
            request,
            stage=stage.name,
            epoch=self._ledger.db.text(EPOCH) or "",
            now=self._wall(),
            refill=lambda: self._refill(stage, served),
        )
        if not rows:
            self._note_nothing(served)
        sampling = self._sampling(stage)
        # None instead of an empty list keeps the caller's long poll waiting.
        found = [leases.message(row, sampling) for row in rows]
        return Leases(leases=found) if found else None

    def _state(self) -> tuple[object, ...]:
        """What decides, besides its engine, if there are episodes for a worker that lost none."""
        db = self._ledger.db
        return db, db.changes, self._job.desired, self._preconditions.checks

    def _may_have_changed(self, request: LeaseRequest, stage: Stage, served: int) -> bool:
        state, versions = self._nothing
        if state != self._state() or served not in versions:
            return True
        # Of this worker alone: what an answer that got lost has given it.
        return bool(leases.lost(self._ledger.db, request, stage.name))

    def _note_nothing(self, served: int) -> None:
        state = self._state()
        known = self._nothing[1] if self._nothing[0] == state else set()
        self._nothing = state, known | {served}

    def result(self, episode: EpisodeResult, file: str | None = None) -> bool:
        """Records a result and wakes all waiters for it; False if the lease was taken back.

        Args:
            file: has the bytes of a large trajectory (`ledger.trajectories`).
        """
        spec = self._job.desired.spec
        accepted = leases.accept(
            self._ledger.db,
            episode,
            self._wall(),
            lambda stage: stage_plan.group_filter(spec, stage),
            file=file,
        )
        if accepted:
            self._generated.add(episode.generated_tokens)
            # A group that ended frees room at the gate, a batch may be full, an
            # evaluation may be complete.
            self._notifiers.leases.notify()
            self._notifiers.batches.notify()
            self._notifiers.background.notify()
        return accepted

    def release(self, lease_id: str, worker: Worker) -> bool:
        """Takes an unfinished episode back; False if the lease is no longer this worker's."""
        released = leases.release(self._ledger.db, lease_id, worker)
        if released:
            self._notifiers.leases.notify()
        return released

    def expire(self) -> None:
        """Takes back the leases of workers that are gone, and of episodes that are overdue."""
        db, now = self._ledger.db, self._wall()
        expired = leases.expire(db, self._membership.gone, now)
        if expired:
            log.warning("%d leases of workers that are gone are issued again", expired)
        overdue = self._expire_overdue(now)
        if expired or overdue:
            self._notifiers.leases.notify()

    def _expire_overdue(self, now: float) -> int:
        """Episodes whose worker lives and should have given them back long ago."""
        stage = self._job.running_stage if self._job.known else None
        if stage is None or stage.type not in ROLLOUT_STAGES:
            return 0
        # A look at all leases: not at every tick.
        if self._clock() - self._looked_at < OVERDUE_EVERY_SECONDS:
            return 0
        self._looked_at = self._clock()
        deadline = self._sampling(stage).timeout_s + OVERDUE_SECONDS
        overdue = leases.expire_overdue(self._ledger.db, deadline, now)
        if overdue:
            log.warning("%d episodes are overdue by more than a minute and run again", overdue)
        return overdue

    def _served(self, request: LeaseRequest) -> int:
        """Version of the worker's engine, counted from the one that the stage began with."""
        beat = self._membership.get(request.pod)
        adopted = (beat.adopted if beat else None) or 0
        return adopted - self._job.first_version()

    def _may_lease(self, stage: Stage, request: LeaseRequest) -> bool:
        """Only a living worker whose engine serves what the stage wants, with a user to talk to."""
        beat = self._membership.get(request.pod)
        if stage.type not in ROLLOUT_STAGES or beat is None:
            return False
        # The heartbeat and the request come from different tasks of a pod: both
        # must be of the same life.
        if beat.incarnation != request.incarnation or beat.adopted is None:
            return False
        if beat.adopted < self._weights.required(stage_plan.POLICY):
            return False
        if lineage.is_left_behind(self._ledger.db, stage_plan.POLICY, beat):
            return False
        if stage.type == StageType.RL and self._is_ahead(stage, self._served(request)):
            return False
        if not stage_plan.needs_user_engine(self._job.desired.spec):
            return True
        db, required = self._ledger.db, self._weights.required(stage_plan.USER)
        users = self._membership.user_addresses(
            required, lambda one: lineage.is_left_behind(db, stage_plan.USER, one)
        )
        return bool(users)

    def _is_ahead(self, stage: Stage, served: int) -> bool:
        """Whether no batch of this ledger leads to a version that an engine serves: it is of a
        trainer that is ahead of a restored ledger, and doesn't know it yet."""
        return served > batches.newest_step(self._ledger.db, stage.name)

    def _fresh_enough(self, stage: Stage, served: int) -> bool:
        block, db = stage_plan.rl_block(stage), self._ledger.db
        return staleness_gate.may_generate(
            accepted=self._accepted(stage, block.prompts_per_step),
            running=groups.running(db, stage.name),
            served=served,
            version=self._weights.published_steps(stage),
            staleness=block.max_staleness,
            batch=block.prompts_per_step,
            kept_share=self._kept_share(stage),
        )

    def _kept_share(self, stage: Stage) -> float:
        """What a running group counts for."""
        # With staleness 0 a batch has no room for one more group than it needs: it would be trained
        # on a version too late.
        if not stage_plan.rl_block(stage).max_staleness:
            return 1.0
        return groups.kept_share(self._ledger.db, stage.name)

    def _accepted(self, stage: Stage, batch: int) -> int:
        """Groups of fixed batches, and those that wait for one.

        In batches of today's size: after an edit of `promptsPerStep` the groups of earlier batches
        would count as more batches than they were, or as fewer.
        """
        fixed = batches.newest_step(self._ledger.db, stage.name)
        return fixed * batch + groups.admitted(self._ledger.db, stage.name)

    def _capacity(self, stage: Stage, served: int) -> int:
        """Groups that the staleness gate lets start now on an engine that serves `served`."""
        block, db = stage_plan.rl_block(stage), self._ledger.db
        return staleness_gate.capacity(
            max_concurrent=block.max_concurrent_groups,
            running=groups.running(db, stage.name),
            accepted=self._accepted(stage, block.prompts_per_step),
            # An engine that lags may start fewer groups: theirs would be too old
            # when they are trained on.
            version=min(self._weights.published_steps(stage), served),
            staleness=block.max_staleness,
            batch=block.prompts_per_step,
            steps=block.steps,
            kept_share=self._kept_share(stage),
        )

    def _refill(self, stage: Stage, served: int) -> bool:
        """Issues the next prompt of the dataset as a group, if data and gate allow."""
        if stage.type != StageType.RL:
            return False
        # In this order: the rows are put together from all files.
        if self._capacity(stage, served) < 1 or (rows := self._preconditions.rows(stage)) is None:
            return False
        block, db = stage_plan.rl_block(stage), self._ledger.db
        # Inside the transaction of `leases.take`.
        cursor = groups.draw(db, stage.name)
        # A stage goes on where the RL stages before it stopped: with the same seed it would train
        # on the prompts of their first epoch again.
        before = stage_plan.rl_stages_before(self._job.desired.spec, stage)
        place = cursor + sum(groups.drawn(db, name) for name in before)
        row = rows[order.row_at(place, len(rows), block.seed)]
        groups.issue(
            db,
            groups.NewGroup(
                id=f"{stage.name}-{cursor:06d}",
                stage=stage.name,
                kind=EpisodeKind.TRAIN,
                row_key=row.key,
                domain=row.domain,
                database=row.database,
                task=row.task,
                seeds=[
                    order.sampling_seed(block.seed, place, sample)
                    for sample in range(block.trajectories_per_prompt)
                ],
            ),
        )
        return True

    def _sampling(self, stage: Stage) -> Sampling:
        spec = self._job.desired.spec
        is_rl = stage.type == StageType.RL
        block = stage_plan.rl_block(stage) if is_rl else evaluation.block(stage)
        return Sampling(
            temperature=block.temperature,
            max_tokens_per_turn=block.max_tokens_per_turn,
            max_turns=block.max_turns,
            context_length=spec.model.context_length,
            user=leases.user_settings(spec),
            judge=spec.verifier.judge,
            functions=spec.verifier.functions,
            max_repeats=block.max_repeats,
            max_messages=block.max_messages,
            max_tool_errors=block.max_tool_errors,
            greeting=block.greeting,
            timeout_s=block.episode_timeout_seconds,
        )
