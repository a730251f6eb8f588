"""The rollout side: who may lease now, how many groups may start, what a result changes."""

import logging

from sea_api.v1alpha1.stages import Stage, StageType
from sea_env.tasks import order
from sea_runtime.coordinator import evaluation, gate, leases, program
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data import sources
from sea_runtime.coordinator.leases import Sampling
from sea_runtime.coordinator.ledger import groups, stages
from sea_runtime.wire.rollouts import EpisodeKind, EpisodeResult, Lease, LeaseRequest, Leases

log = logging.getLogger(__name__)

ROLLOUT_STAGES = (StageType.RL, StageType.EVALUATION)


def lease(core: Coordinator, request: LeaseRequest) -> Leases | None:
    """Episodes for a worker, None while there is nothing it may do."""
    stage = core.running_stage
    if stage is None or request.want < 1 or core.desired.drain or not _may_lease(core, request):
        return None
    served = _served(core, request)
    if stage.type == StageType.RL and not _fresh_enough(core, stage, served):
        return None
    rows = leases.take(
        core.ledger,
        request,
        stage=stage.name,
        epoch=core.epoch,
        now=core.wall(),
        refill=lambda: _refill(core, stage, served),
    )
    found: list[Lease] = [leases.message(row, _sampling(core, stage)) for row in rows]
    return Leases(leases=found) if found else None


def _served(core: Coordinator, request: LeaseRequest) -> int:
    """Version of the worker's engine, counted from the one that the stage began with."""
    beat = core.members.get(request.pod)
    adopted = (beat.adopted if beat else None) or 0
    return adopted - program.first_version(core.desired.spec, core.desired.stage_index)


def _fresh_enough(core: Coordinator, stage: Stage, served: int) -> bool:
    block = program.rl_block(stage)
    return gate.may_generate(
        accepted=groups.accepted(core.ledger, stage.name),
        running=groups.running(core.ledger, stage.name),
        served=served,
        version=core.publish_progress(),
        staleness=block.max_staleness,
        batch=block.prompts_per_step,
    )


def _may_lease(core: Coordinator, request: LeaseRequest) -> bool:
    """Only a living worker whose engine serves what the stage wants, with a user to talk to."""
    stage = core.stage
    beat = core.members.get(request.pod)
    if stage is None or stage.type not in ROLLOUT_STAGES or beat is None:
        return False
    if beat.incarnation != request.incarnation or beat.adopted is None:
        return False
    if beat.adopted < core.required(program.POLICY):
        return False
    if not program.needs_user_engine(core.desired.spec):
        return True
    return bool(core.members.user_addresses(core.required(program.USER)))


def capacity(core: Coordinator, stage: Stage, served: int) -> int:
    """Groups that the staleness gate lets start now on an engine that serves `served`."""
    block = program.rl_block(stage)
    return gate.capacity(
        max_concurrent=block.max_concurrent_groups,
        running=groups.running(core.ledger, stage.name),
        accepted=groups.accepted(core.ledger, stage.name),
        version=min(core.publish_progress(), served),
        staleness=block.max_staleness,
        batch=block.prompts_per_step,
        steps=block.steps,
    )


def _refill(core: Coordinator, stage: Stage, served: int) -> bool:
    """Issues the next prompt of the dataset as a group, if data and gate allow."""
    if stage.type != StageType.RL or core.data is None or core.problem is not None:
        return False
    if capacity(core, stage, served) < 1:
        return False
    block, rows = program.rl_block(stage), core.data.rows(sources.task_files(core.desired, stage))
    cursor = stages.draw(core.ledger, stage.name)
    row = rows[order.row_at(cursor, len(rows), block.seed)]
    groups.issue(
        core.ledger,
        groups.NewGroup(
            id=f"{stage.name}-{cursor:06d}",
            stage=stage.name,
            kind=EpisodeKind.TRAIN,
            row_key=row.key,
            domain=row.domain,
            database=row.database,
            task=row.task,
            seeds=[
                order.sampling_seed(block.seed, cursor, sample)
                for sample in range(block.trajectories_per_prompt)
            ],
        ),
    )
    return True


def _sampling(core: Coordinator, stage: Stage) -> Sampling:
    spec = core.desired.spec
    block = program.rl_block(stage) if stage.type == StageType.RL else evaluation.block(stage)
    return Sampling(
        temperature=block.temperature,
        max_tokens_per_turn=block.max_tokens_per_turn,
        max_turns=block.max_turns,
        context_length=spec.model.context_length,
        user=leases.user_settings(spec),
        judge=spec.verifier.judge,
        functions=spec.verifier.functions,
        max_repeats=block.max_repeats,
    )


def result(core: Coordinator, episode: EpisodeResult) -> bool:
    """Books a result and wakes whom it concerns; False where the lease is another's by now."""
    keeping = program.keeping_constant_groups(core.desired.spec)
    accepted = leases.accept(core.ledger, episode, core.wall(), keeping)
    if accepted:
        core.generated.add(episode.generated_tokens)
        core.bells.leases.ring()
        core.bells.batches.ring()
        core.bells.runner.ring()
    return accepted
