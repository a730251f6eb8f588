"""Arithmetic over a job's stages: which stream a stage trains, from what, at which version. Pure.

Also where a stage's data comes from: the spec's files, and what Synthesis stages before it have
made. A Synthesis stage leaves one data set per domain under `stages/<stage>/data/<domain>/` (the
name as `file_name` spells it): task and dialogue files, and the databases that the tasks name,
relative to that folder. A stage that names files of its own reads those only.

A version number follows from the spec and from the steps that the stages before really took (an SFT
stage publishes one version, an RL stage one per step), so that a ledger restored from an older
checkpoint still agrees with the trainer.
"""

import math
from collections.abc import Collection, Container, Iterator, Mapping, Sequence

from sea_api.v1alpha1.data import ThinkingHistory
from sea_api.v1alpha1.domains import file_name
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.roles import UserEngine
from sea_api.v1alpha1.stages import BASE, RLStage, Stage, StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.synthesis.dataset import DIALOGUES, TASKS
from sea_runtime.coordinator.ledger.groups import GroupFilter
from sea_runtime.wire.trainer import Origin, TaskKind

POLICY, USER = "policy", "user"
STREAMS = (POLICY, USER)
Steps = Mapping[str, int]
"""By stage."""

TASK_KINDS = {
    StageType.USER_SFT: TaskKind.SFT,
    StageType.SFT: TaskKind.SFT,
    StageType.RL: TaskKind.RL,
}


def stream_of(stage: Stage) -> str:
    return USER if stage.type == StageType.USER_SFT else POLICY


def trains(stage: Stage) -> bool:
    return stage.type in TASK_KINDS


def strips_thoughts(spec: Spec, stream: str) -> bool:
    """True if the stream's model sees prompts without its earlier thoughts; the user model keeps
    its own."""
    return stream == POLICY and spec.model.thinking_history is ThinkingHistory.STRIP


def training_stage(desired: CoordinatorSpec) -> Stage | None:
    """The current stage, if it trains."""
    stages = desired.spec.stages[desired.stage_index : desired.stage_index + 1]
    return next((stage for stage in stages if trains(stage)), None)


def rl_block(stage: Stage) -> RLStage:
    return stage.rl or RLStage()


def rl_stages_before(spec: Spec, stage: Stage) -> list[str]:
    """Names of the job's RL stages before this one."""
    place = [one.name for one in spec.stages].index(stage.name)
    return [one.name for one in spec.stages[:place] if one.type == StageType.RL]


def versions_of(stage: Stage, steps: int | None = None) -> int:
    """How many weight versions a stage publishes after those it began with.

    Args:
        steps: that it ended with; None: it has not ended, and its spec says.
    """
    if stage.type == StageType.RL:
        return rl_block(stage).steps if steps is None else steps
    return 1 if trains(stage) else 0


def first_version(
    spec: Spec, index: int, stream: str | None = None, ended: Steps | None = None
) -> int:
    """Version of a stream that stage `index` begins with; by default of the stage's own stream.

    Args:
        ended: steps of the stages that have ended, by name: an edit may have ended one at another
            step than its spec says now.
    """
    stages = spec.stages
    stream = stream or stream_of(stages[index])
    published = sum(
        versions_of(stage, (ended or {}).get(stage.name)) + _own_versions(stages, place)
        for place, stage in enumerate(stages[:index])
        if stream_of(stage) == stream
    )
    own = index < len(stages) and stream_of(stages[index]) == stream
    return published + (_own_versions(stages, index) if own else 0)


def _own_versions(stages: Sequence[Stage], index: int) -> int:
    """1 if the stage publishes the weights it begins with as a version of their own.

    An RL stage that does not go on from the newest version of its stream: engines serve that one.
    """
    stage = stages[index]
    newest = newest_before(stages, index)
    if stage.type != StageType.RL or newest is None:
        return 0
    return int(stage.start_from not in (None, newest.name))


def newest_before(stages: Sequence[Stage], index: int) -> Stage | None:
    """The latest stage before that trains the same stream, None if there is none."""
    stream = stream_of(stages[index])
    found = (s for s in reversed(stages[:index]) if trains(s) and stream_of(s) == stream)
    return next(found, None)


def export_url(run_url: str, stage: str) -> str:
    return urls.folder(urls.join(run_url, "stages", stage, "export"))


def initial_model(spec: Spec, index: int, run_url: str, base: str) -> str:
    """A stage goes on from the newest weights of its stream, unless `startFrom` says otherwise."""
    stage, newest = spec.stages[index], newest_before(spec.stages, index)
    start = stage.start_from or (newest.name if newest else BASE)
    return base if start == BASE else export_url(run_url, start)


def origin(desired: CoordinatorSpec) -> Origin | None:
    """The other run's checkpoint that the current stage goes on from."""
    start = desired.spec.start_from
    # Later stages go on from what this run has trained itself.
    if start is None or desired.stage_index > 0:
        return None
    return Origin(run_url=start.run.rstrip("/"), step=start.step)


def smallest_served(stage: Stage | None, stream: str, newest: int, first: int) -> int:
    """Smallest version that an engine of the stream may serve while the stage runs.

    Within an RL stage the policy may lag by `maxStaleness`, but never behind the weights that the
    stage began with: those are another model, not an older version of this one.

    Args:
        newest: version of the stream.
        first: version that the stage began with.
    """
    if stream != POLICY or stage is None or stage.type != StageType.RL:
        return newest
    return max(first, newest - rl_block(stage).max_staleness)


def needs_user_engine(spec: Spec) -> bool:
    return spec.user_model.engine == UserEngine.VLLM


def model_source(spec: Spec, stream: str) -> str:
    return (spec.user_model.source if stream == USER else None) or spec.model.source


def max_age(block: RLStage) -> int:
    """Versions that a trajectory may be old when it is trained on."""
    return 2 * block.max_staleness + 2 if block.max_age is None else block.max_age


def group_filter(spec: Spec, stage: str) -> GroupFilter:
    """The filter of the stage of this name; of another kind of stage it drops nothing."""
    block = next((one.rl for one in spec.stages if one.name == stage), None)
    if block is None:
        return GroupFilter(constant=False)
    most = math.inf if block.max_mean_reward is None else block.max_mean_reward
    return GroupFilter(block.filter_constant_groups, most, block.saved_rollouts > 0)


def made_folder(run_url: str, stage: str, domain: str = "") -> str:
    """Folder of a Synthesis stage's data, or of one domain's data set in it."""
    parts = [file_name(domain)] if domain else []
    return urls.join(run_url, "stages", stage, "data", *parts)


def task_files(desired: CoordinatorSpec, stage: Stage) -> list[str]:
    """Task files that a stage draws prompts from."""
    spec = desired.spec
    if stage.type == StageType.RL:
        return [*spec.data.rl, *_made(desired, stage, TASKS)]
    if stage.type == StageType.EVALUATION and stage.evaluation is not None:
        own = stage.evaluation.tasks
        return own or [*spec.data.rl, *_made(desired, stage, TASKS)]
    return []


def dialogue_files(desired: CoordinatorSpec, stage: Stage) -> list[str]:
    """Dialogue files that a stage trains on."""
    block = {StageType.SFT: stage.sft, StageType.USER_SFT: stage.user_sft}.get(stage.type)
    if block is None:
        return []
    return block.data or [*desired.spec.data.sft, *_made(desired, stage, DIALOGUES)]


def databases(desired: CoordinatorSpec, file: str) -> str | None:
    """The folder that `db_path` is relative to in rows of this file."""
    for stage in _synthesis(desired.spec):
        # `folder` ends the address with a slash: stage `a` must not claim the files of stage `ab`.
        if file.startswith(urls.folder(made_folder(desired.run_url, stage.name))):
            return file.rpartition("/")[0]
    return desired.spec.data.databases


def still_to_make(desired: CoordinatorSpec, complete: Collection[str]) -> set[str]:
    """Files that Synthesis stages, other than those in `complete`, have yet to write."""
    return {
        urls.join(made_folder(desired.run_url, stage.name, domain), name)
        for stage in _synthesis(desired.spec)
        if stage.name not in complete
        for domain in desired.spec.domains
        for name in (TASKS, DIALOGUES)
    }


def for_trainer(desired: CoordinatorSpec, index: int) -> Spec:
    """The spec as a stage's trainer reads it: `data.sft` holds what was made before it, too."""
    spec, stage = desired.spec, desired.spec.stages[index]
    made = _made(desired, stage, DIALOGUES)
    if not made:
        return spec
    data = spec.data.model_copy(update={"sft": [*spec.data.sft, *made]})
    return spec.model_copy(update={"data": data})


def _made(desired: CoordinatorSpec, stage: Stage, name: str) -> list[str]:
    """Files of that name from all Synthesis stages before this one."""
    place = [s.name for s in desired.spec.stages].index(stage.name)
    return [
        urls.join(made_folder(desired.run_url, before.name, domain), name)
        for before in desired.spec.stages[:place]
        if before.type == StageType.SYNTHESIS
        for domain in desired.spec.domains
    ]


def _synthesis(spec: Spec) -> Iterator[Stage]:
    return (stage for stage in spec.stages if stage.type == StageType.SYNTHESIS)


def newest_model(spec: Spec, complete: Container[str], run_url: str) -> str | None:
    """Folder of the agent's newest finished model; `complete` names the stages that have ended."""
    for stage in reversed(spec.stages):
        if stage.name in complete and trains(stage) and stream_of(stage) == POLICY:
            return export_url(run_url, stage.name)
    return None
