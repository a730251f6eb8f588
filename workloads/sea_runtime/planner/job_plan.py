"""A whole job's plan: its memory, its times and a verdict, from the spec and the models' shapes.

`sea plan` prints it (`page.py`); the coordinator acts on its verdict before pods with GPUs start
(`coordinator/plan_check.py`). Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from sea_api.v1alpha1.data import Precision, ThinkingHistory
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.role_rules import engine_workers, processes_per_pod
from sea_api.v1alpha1.roles import Rollout, UserEngine, UserModel
from sea_api.v1alpha1.stages import RLStage, StageType
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import (
    budgets,
    engine_memory,
    host_memory,
    speed,
    trainer_memory,
    transfers,
)
from sea_runtime.planner import workload as workloads
from sea_runtime.planner.budgets import Budget, Fit
from sea_runtime.planner.engine_memory import EngineSetup, KvCache
from sea_runtime.planner.gpus import CPU, Gpu
from sea_runtime.planner.speed import Generation, TrainingTime
from sea_runtime.planner.trainer_memory import TrainerSetup
from sea_runtime.planner.transfers import CheckpointTime, Fleet, Update
from sea_runtime.planner.workload import Workload
from sea_runtime.wire.rollouts import expert_bytes

POLICY, USER = "policy", "user"


@dataclass(frozen=True)
class StagePlan:
    """Times of one training step of the job's RL stage, with both sides at work."""

    stage: str
    workload: Workload
    training: TrainingTime
    generation: Generation
    generate_s: float
    """Seconds to generate a step's trajectories."""
    publish_s: float
    update: Update
    checkpoint: CheckpointTime
    checkpoint_every: int
    recompute_s: float
    """Seconds that an engine computes its caches again after an update."""

    @property
    def trainer_s(self) -> float:
        saving = self.checkpoint.foreground_s / self.checkpoint_every
        return self.training.seconds + self.publish_s + saving

    @property
    def engine_s(self) -> float:
        return self.generate_s + self.update.pause_s + self.recompute_s

    @property
    def step_s(self) -> float:
        """Asynchronous: the slower side decides."""
        return max(self.trainer_s, self.engine_s)


@dataclass(frozen=True)
class JobPlan:
    """Everything that a page shows."""

    budgets: tuple[Budget, ...]
    trainer: TrainerSetup | None = None
    trainer_gpu: Gpu | None = None
    engine: EngineSetup | None = None
    engine_gpu: Gpu | None = None
    engines: int = 0
    cache: KvCache | None = None
    stages: tuple[StagePlan, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What the plan leaves out, and why."""

    @property
    def fit(self) -> Fit:
        order = list(Fit)
        return max((budget.fit for budget in self.budgets), key=order.index, default=Fit.FITS)

    def sentences(self, fit: Fit) -> list[str]:
        """One for each budget with this verdict."""
        return [budget.sentence() for budget in self.budgets if budget.fit is fit]


@dataclass(frozen=True)
class Known:
    """What a plan is made from next to the spec."""

    shapes: Mapping[str, ModelShape]
    """By stream (`policy`, `user`); a stream whose model isn't known is left out."""
    trainer_gpu: Gpu | None = None
    rollout_gpu: Gpu | None = None
    user_gpu: Gpu | None = None
    workload: Workload | None = None
    """Replaces what is assumed of lengths."""


def plan(spec: Spec, known: Known) -> JobPlan:
    """The plan of a job.

    Raises:
        LayoutError: the trainer's layout doesn't fit the model, in a sentence.
    """
    planner = _Planner(spec, known)
    return planner.plan()


class _Planner:
    """The parts of one plan, in order."""

    def __init__(self, spec: Spec, known: Known) -> None:
        self.spec, self.known = spec, known
        self.element = 2 if spec.model.precision is Precision.BF16 else 4
        self.trainer_gpu = known.trainer_gpu if spec.trainer.gpus_per_pod else CPU
        self.rollout_gpu = known.rollout_gpu if spec.rollout.gpus_per_pod else CPU
        self.user_gpu = known.user_gpu if spec.user_model.gpus_per_pod else CPU

    def plan(self) -> JobPlan:
        policy = self.known.shapes.get(POLICY)
        notes = list(self._notes())
        if policy is None:
            return JobPlan((), notes=tuple(notes))
        trainer = self._trainer(policy) if POLICY in self._trained() else None
        tensor = engine_workers(self.spec.rollout)
        episodes = self.spec.rollout.max_episodes
        engine = EngineSetup(policy, tensor, self.element, self._context, episodes)
        needed = [*self._trainer_budgets(), *self._engine_budgets(POLICY)]
        if self.spec.user_model.engine is UserEngine.VLLM:
            needed += self._engine_budgets(USER)
        engines = self.spec.rollout.replicas  # one per pod
        rl = self._rl()
        workload = self._workload(rl)
        asked = max(1, -(-workloads.concurrent_episodes(rl) // max(1, engines)))
        cache = None
        if self.rollout_gpu is not None and self.rollout_gpu.memory:
            memory, mean = self.rollout_gpu.memory, workload.sequence_tokens
            cache = engine_memory.kv_cache(engine, memory, mean, asked)
        return JobPlan(
            budgets=tuple(needed),
            trainer=trainer,
            trainer_gpu=self.trainer_gpu,
            engine=engine,
            engine_gpu=self.rollout_gpu,
            engines=engines,
            cache=cache,
            stages=tuple(self._stages(trainer, engine, engines, cache)),
            notes=tuple(notes),
        )

    @property
    def _context(self) -> int:
        return self.spec.model.context_length

    @property
    def _row_tokens(self) -> int:
        return self.spec.trainer.max_tokens_per_microbatch or self._context

    def _trained(self) -> set[str]:
        kinds = {stage.type for stage in self.spec.stages}
        found = {POLICY} if kinds & {StageType.SFT, StageType.RL} else set()
        return found | ({USER} if StageType.USER_SFT in kinds else set())

    def _notes(self) -> Iterator[str]:
        for stream in (POLICY, USER):
            needed = stream == POLICY or self.spec.user_model.engine is UserEngine.VLLM
            if needed and stream not in self.known.shapes:
                yield f"The shape of the {stream} model isn't known, so its part isn't planned."
        roles = [("trainer", self.trainer_gpu), ("rollout", self.rollout_gpu)]
        if self.spec.user_model.engine is UserEngine.VLLM:
            roles.append(("user model", self.user_gpu))
        for name, gpu in roles:
            if gpu is None:
                yield f"The kind of the {name}'s GPUs isn't known, so their memory isn't checked."
        if any(stage.rl for stage in self.spec.stages):
            strips = self.spec.model.thinking_history is ThinkingHistory.STRIP
            yield from workloads.unmeasured(self.known.workload, strips=strips)
        if self.spec.rollout.router_replay and POLICY in self.known.shapes:
            yield self._replay_note(self._replayed(self.known.shapes[POLICY]))

    def _replay_note(self, step: float) -> str:
        """`step`: bytes of the experts that a step's trajectories name."""
        # Until a checkpoint covers them: of its steps, and of those that generation is ahead.
        steps = self.spec.checkpoint.every_steps + self._rl().max_staleness + 1
        return (
            f"With rollout.routerReplay a step's trajectories have {step / 1e9:,.1f} GB of experts."
            f" The coordinator has those of up to {steps} steps on its volume,"
            f" {steps * step / 1e9:,.0f} GB: set coordinator.volumeSize for it. Results that arrive"
            " take up to 2 GiB of its memory."
        )

    def _rl(self) -> RLStage:
        blocks = [stage.rl for stage in self.spec.stages if stage.rl is not None]
        return blocks[0] if blocks else RLStage()

    def _workload(self, rl: RLStage) -> Workload:
        assumed = workloads.assumed(rl.prompts_per_step, rl.trajectories_per_prompt, self._context)
        known = self.known.workload
        if known is None:
            return assumed
        return replace(known, groups=assumed.groups, group_size=assumed.group_size)

    def _trainer(self, shape: ModelShape) -> TrainerSetup:
        trainer = self.spec.trainer
        world = trainer.replicas * processes_per_pod(trainer.gpus_per_pod)
        layout = parallel_layout.plan(trainer.parallelism, shape, world)
        rows = speed.microbatches(self._workload(self._rl()), layout, self._row_tokens)
        gpu = trainer.gpus_per_pod > 0
        setup = TrainerSetup(
            shape,
            layout,
            self.element,
            self._row_tokens,
            rows,
            optimizer=trainer.optimizer,
            gpu=gpu,
        )
        if trainer.recomputation is not Recomputation.AUTO:
            return replace(setup, recomputation=trainer.recomputation)
        if not gpu or self.trainer_gpu is None:
            return setup
        return trainer_memory.choose(setup, self.trainer_gpu.memory)

    def _trainer_budgets(self) -> Iterator[Budget]:
        for stream in sorted(self._trained() & set(self.known.shapes)):
            name = "trainer" if stream == POLICY else "trainer (user model)"
            setup = self._trainer(self.known.shapes[stream])
            replayed = self._replayed(setup.shape) if stream == POLICY else 0.0
            yield from budgets.of_trainer(self.spec, name, setup, self.trainer_gpu, replayed)

    def _replayed(self, shape: ModelShape) -> float:
        """Bytes of the experts that a step's trajectories name."""
        token = expert_bytes(shape.layers, shape.experts_per_token, shape.experts)
        replays = self.spec.rollout.router_replay
        return token * self._workload(self._rl()).tokens if replays else 0.0

    def _engine_budgets(self, stream: str) -> Iterator[Budget]:
        shape = self.known.shapes.get(stream)
        role: Rollout | UserModel = self.spec.rollout if stream == POLICY else self.spec.user_model
        if shape is None or not role.replicas:
            return
        gpu = self.rollout_gpu if stream == POLICY else self.user_gpu
        name = "rollout" if stream == POLICY else "user model"
        setup = EngineSetup(shape, engine_workers(role), self.element, self._context)
        yield from budgets.of_engine(name, role, setup, gpu)

    def _stages(
        self, trainer: TrainerSetup | None, engine: EngineSetup, engines: int, cache: KvCache | None
    ) -> Iterator[StagePlan]:
        gpu, engine_gpu = self.trainer_gpu, self.rollout_gpu
        if trainer is None or gpu is None or engine_gpu is None or not engines:
            return
        for stage in self.spec.stages:
            if stage.rl is None:
                continue
            rl, workload = stage.rl, self._workload(stage.rl)
            asked = max(1, -(-workloads.concurrent_episodes(rl) // engines))
            room = 2 * cache.sequences_mean if cache else float(asked)
            episodes = min(float(min(asked, engine.episodes)), room)
            if episodes < 1:
                continue
            made = speed.generation(engine, engine_gpu, workload, episodes)
            yield self._stage(stage.name, rl, trainer, engine, engines, made)

    def _stage(
        self,
        name: str,
        rl: RLStage,
        trainer: TrainerSetup,
        engine: EngineSetup,
        engines: int,
        made: Generation,
    ) -> StagePlan:
        gpu, engine_gpu = self.trainer_gpu, self.rollout_gpu
        assert gpu is not None
        assert engine_gpu is not None
        workload, shape, layout = self._workload(rl), trainer.shape, trainer.layout
        fleet = Fleet(layout.world_size, engines, engine.tensor)
        held = made.generating * workload.sequence_tokens / 2
        moments = self.spec.trainer.optimizer.moments
        state = host_memory.state_bytes(shape, layout, moments)
        ranks = processes_per_pod(self.spec.trainer.gpus_per_pod)
        published = host_memory.published_bytes(shape, layout, self.element)
        return StagePlan(
            stage=name,
            workload=workload,
            training=speed.training(
                shape,
                layout,
                gpu,
                workload,
                row_tokens=trainer.row_tokens,
                recomputation=trainer.recomputation,
                minibatches=rl.minibatches,
            ),
            generation=made,
            generate_s=workload.trajectories / (engines * made.episodes_per_s),
            publish_s=transfers.publish_seconds(published, gpu),
            update=transfers.update(shape, self.element, fleet, engine_gpu),
            checkpoint=transfers.checkpoint(state, ranks, self.spec.checkpoint.max_staging_bytes),
            checkpoint_every=self.spec.checkpoint.every_steps,
            recompute_s=speed.prefill_seconds(engine, engine_gpu, held),
        )
