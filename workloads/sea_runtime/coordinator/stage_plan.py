"""Arithmetic over a job's stages: which stream a stage trains, from what, at which version. Pure.

A version number follows from the spec alone (an SFT stage publishes one, an RL stage one per step),
so that a ledger restored from an older checkpoint still agrees with the trainer.
"""

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.roles import UserEngine
from sea_api.v1alpha1.stages import RLStage, Stage, StageType
from sea_data import urls
from sea_runtime.wire.trainer import TaskKind

POLICY, USER = "policy", "user"
STREAMS = (POLICY, USER)

TASKS = {
    StageType.USER_SFT: TaskKind.SFT,
    StageType.SFT: TaskKind.SFT,
    StageType.RL: TaskKind.RL,
}


def stream_of(stage: Stage) -> str:
    return USER if stage.type == StageType.USER_SFT else POLICY


def trains(stage: Stage) -> bool:
    return stage.type in TASKS


def rl_block(stage: Stage) -> RLStage:
    return stage.rl or RLStage()


def versions_of(stage: Stage) -> int:
    """How many weight versions a stage publishes."""
    if stage.type == StageType.RL:
        return rl_block(stage).steps
    return 1 if trains(stage) else 0


def first_version(spec: Spec, index: int, stream: str | None = None) -> int:
    """Newest version of a stream before stage `index`; by default of the stage's own stream."""
    stream = stream or stream_of(spec.stages[index])
    return sum(versions_of(s) for s in spec.stages[:index] if stream_of(s) == stream)


def export_url(run_url: str, stage: Stage) -> str:
    return urls.folder(urls.join(run_url, "stages", stage.name, "export"))


def initial_model(spec: Spec, index: int, run_url: str, base: str) -> str:
    """RL continues from the latest policy stage before it; fine-tuning starts at the base model."""
    stage = spec.stages[index]
    if stage.type == StageType.RL:
        for before in reversed(spec.stages[:index]):
            if trains(before) and stream_of(before) == POLICY:
                return export_url(run_url, before)
    return base


def smallest_served(spec: Spec, index: int, stream: str, newest: int) -> int:
    """Smallest version that an engine of the stream may serve while stage `index` runs.

    Within an RL stage the policy may lag by `maxStaleness`, but never behind the weights that the
    stage began with: those are another model, not an older version of this one.
    """
    stage = spec.stages[index] if index < len(spec.stages) else None
    if stream != POLICY or stage is None or stage.type != StageType.RL:
        return newest
    return max(first_version(spec, index), newest - rl_block(stage).max_staleness)


def needs_user_engine(spec: Spec) -> bool:
    return spec.user_model.engine == UserEngine.VLLM


def model_source(spec: Spec, stream: str) -> str:
    return (spec.user_model.source if stream == USER else None) or spec.model.source


def keeping_constant_groups(spec: Spec) -> frozenset[str]:
    """RL stages that train on groups with equal rewards too (`filterConstantGroups: false`)."""
    return frozenset(
        stage.name
        for stage in spec.stages
        if stage.rl is not None and not stage.rl.filter_constant_groups
    )
