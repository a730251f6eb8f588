"""Rules of `job`: stages against data, user model and the stages that were there before."""

from typing import Any

from sea_api.limits import MAX_TOKENS_PER_TURN
from sea_api.v1alpha1.rules import Rule, Transition, immutable
from sea_api.v1alpha1.stages import BASE, TRAINING, Stage, StageType

MAX_STAGES = 32
_MADE_HERE = "self.stages.exists(s, s.type == 'Synthesis')"


def _has_stage(spec: Any, kind: StageType) -> bool:
    return any(stage.type == kind for stage in spec.stages)


def _makes_data(spec: Any) -> bool:
    return _has_stage(spec, StageType.SYNTHESIS)


def _has_dialogues(spec: Any) -> bool:
    blocks = [block for stage in spec.stages for block in (stage.sft, stage.user_sft) if block]
    return bool(spec.data.sft) or _makes_data(spec) or all(block.data for block in blocks)


def _has_tasks(spec: Any) -> bool:
    return bool(spec.data.rl) or _makes_data(spec) or not _has_stage(spec, StageType.RL)


def _has_evaluation_tasks(spec: Any) -> bool:
    blocks = [stage.evaluation for stage in spec.stages if stage.evaluation]
    return bool(spec.data.rl) or _makes_data(spec) or all(block.tasks for block in blocks)


def _replays_in_rl(spec: Any) -> bool:
    return _has_stage(spec, StageType.RL) or not spec.rollout.router_replay


def _serves_the_user(spec: Any) -> bool:
    return spec.user_model.engine == "VLLM" or not _has_stage(spec, StageType.USER_SFT)


def _turns_fit(spec: Any) -> bool:
    blocks = [block for stage in spec.stages for block in (stage.rl, stage.evaluation) if block]
    return all(block.max_tokens_per_turn <= spec.model.context_length for block in blocks)


def _signature(stages: list[Stage]) -> list[tuple[str, StageType]]:
    return [(stage.name, stage.type) for stage in stages]


def _keeps_program(new: Any, old: Any) -> bool:
    return _signature(new.stages)[: len(old.stages)] == _signature(old.stages)


# The types of these lists (`map`, `set`) make the API server refuse both; Python checks a file
# before it is applied.
UNIQUE_STAGES = Rule(
    cel=None,
    message="Duplicate value: two stages have one name; rename one",
    holds=lambda stages: len({stage.name for stage in stages}) == len(stages),
)

UNIQUE_DOMAINS = Rule(
    cel=None,
    message="Duplicate value: a domain is listed twice; remove one",
    holds=lambda domains: len(set(domains)) == len(domains),
)

DIALOGUES = Rule(
    cel=f"size(self.data.sft) > 0 || {_MADE_HERE} || self.stages.all(s,"
    " (!has(s.sft) || size(s.sft.data) > 0) && (!has(s.userSFT) || size(s.userSFT.data) > 0))",
    message="a stage of type SFT or UserSFT has no dialogues: set its data or spec.data.sft",
    holds=_has_dialogues,
)

TASKS = Rule(
    cel=f"size(self.data.rl) > 0 || {_MADE_HERE} || !self.stages.exists(s, s.type == 'RL')",
    message="a stage of type RL has no tasks: set spec.data.rl",
    holds=_has_tasks,
)

EVALUATION_TASKS = Rule(
    cel=f"size(self.data.rl) > 0 || {_MADE_HERE} || self.stages.all(s,"
    " !has(s.evaluation) || size(s.evaluation.tasks) > 0)",
    message="a stage of type Evaluation has no tasks: set its tasks or spec.data.rl",
    holds=_has_evaluation_tasks,
)

REPLAYED = Rule(
    cel="!self.rollout.routerReplay || self.stages.exists(s, s.type == 'RL')",
    message="rollout.routerReplay needs a stage of type RL, the only one that trains on what the"
    " engines generate: remove it",
    holds=_replays_in_rl,
)

USER_ENGINE = Rule(
    cel="self.userModel.engine == 'VLLM' || !self.stages.exists(s, s.type == 'UserSFT')",
    message="a stage of type UserSFT needs userModel.engine VLLM, the only one that serves what"
    " the stage trains: change the engine or remove the stage",
    holds=_serves_the_user,
)

TURN_LENGTH = Rule(
    cel="self.stages.all(s, (!has(s.rl) || s.rl.maxTokensPerTurn <= self.model.contextLength)"
    " && (!has(s.evaluation) || s.evaluation.maxTokensPerTurn <= self.model.contextLength))",
    message=f"maxTokensPerTurn of a stage (by default {MAX_TOKENS_PER_TURN}) exceeds"
    " model.contextLength, which holds prompt and answers of all turns: set maxTokensPerTurn in rl"
    " and evaluation to a fraction of contextLength, or raise contextLength",
    holds=_turns_fit,
)

_PLACES = list(range(MAX_STAGES))
"""Spelled out in the rule: lists made by `map` have no bound in the server's cost estimate."""


def _starts_are_known(spec: Any) -> bool:
    stages = spec.stages
    return all(
        stage.start_from in (None, BASE)
        or any(
            before.name == stage.start_from
            and before.type in TRAINING
            and (before.type == StageType.USER_SFT) == (stage.type == StageType.USER_SFT)
            for before in stages[:place]
        )
        for place, stage in enumerate(stages)
    )


# SFT and RL train the agent, UserSFT the user: `startFrom` must not mix the two.
_SAME_MODEL = "(b.type == 'UserSFT') == (self.stages[i].type == 'UserSFT')"

# By index: the list of names that `indexOf` would search could only be made by `map`.
KNOWN_STARTS = Rule(
    cel=f"{_PLACES}.all(i, i >= size(self.stages) || !has(self.stages[i].startFrom)"
    " || self.stages[i].startFrom == 'Base'"
    " || self.stages.exists(b, b.name == self.stages[i].startFrom"
    f" && b.type in ['UserSFT', 'SFT', 'RL'] && {_SAME_MODEL}"
    f" && {_PLACES}.exists(j, j < i && self.stages[j].name == b.name)))",
    message="startFrom names no stage before this one that trains the same model (the agent, or in"
    " a UserSFT stage the user): name one that does, use Base, or remove it",
    holds=_starts_are_known,
)

ROLLBACK_STAGE = Rule(
    cel="!has(self.checkpoint.rollbackTo) || self.stages.exists(s,"
    " s.name == self.checkpoint.rollbackTo.stage && s.type in ['UserSFT', 'SFT', 'RL'])",
    message="checkpoint.rollbackTo.stage names no stage of type UserSFT, SFT or RL, which alone"
    " have checkpoints: name the stage that runs, or remove rollbackTo",
    holds=lambda spec: (
        spec.checkpoint.rollback_to is None
        or any(
            stage.name == spec.checkpoint.rollback_to.stage and stage.type in TRAINING
            for stage in spec.stages
        )
    ),
)

STARTING_STAGE = Rule(
    cel="!has(self.startFrom) || (self.stages[0].name == self.startFrom.stage"
    " && self.stages[0].type in ['UserSFT', 'SFT', 'RL'])",
    message="startFrom.stage must be the name of the first stage, of type UserSFT, SFT or RL, which"
    " goes on from the checkpoint: make it the first stage, or correct the name",
    holds=lambda spec: (
        spec.start_from is None
        or (spec.stages[0].name == spec.start_from.stage and spec.stages[0].type in TRAINING)
    ),
)

KEPT_START = immutable(
    "startFrom",
    "start_from",
    "weights, ledger and checkpoints grew from it; create another job instead",
    optional=True,
)

# Compared by place, so that stages may be appended: everything the old list has must stay.
KEPT_STAGES = Transition(
    cel=f"{_PLACES}.all(i, i >= size(oldSelf.stages) || (i < size(self.stages)"
    " && self.stages[i].name == oldSelf.stages[i].name"
    " && self.stages[i].type == oldSelf.stages[i].type))",
    message="stages keep their name, type and place for the life of a job: edit their settings,"
    " append new ones at the end, or create another job",
    holds=_keeps_program,
)

BEGUN_FIELDS = {
    "startFrom": "start_from",
    "evaluation.tasks": "evaluation.tasks",
    "evaluation.trials": "evaluation.trials",
    "evaluation.maxTasks": "evaluation.max_tasks",
    "evaluation.seed": "evaluation.seed",
}
"""What a stage is made from when it begins, by its name in YAML and in Python."""


def _of_stage(count: str, holds: str) -> str:
    """CEL: `holds` of all stages, old (`o`) and new (`s`), among the first `status.COUNT`."""
    # `oldSelf.status`: an edit of the spec through the main resource carries the status of before,
    # whatever a client put there.
    old, new = "oldSelf.spec.stages[i]", "self.spec.stages[i]"
    rule = holds.replace("$s", new).replace("$o", old)
    return (
        f"!has(oldSelf.status) || !has(oldSelf.status.{count}) || {_PLACES}.all(i,"
        f" i >= oldSelf.status.{count} || i >= size(self.spec.stages)"
        f" || i >= size(oldSelf.spec.stages) || ({rule}))"
    )


def _same(path: str) -> str:
    """CEL: an optional field of a stage, or of its block, is as it was."""
    block, _, field = path.rpartition(".")
    owner = f".{block}" if block else ""
    present = f"(has($s{owner}.{field}) == has($o{owner}.{field})"
    equal = f" && (!has($s{owner}.{field}) || $s{owner}.{field} == $o{owner}.{field}))"
    return f"(!has($s{owner}) || {present}{equal})" if block else f"{present}{equal}"


def _value(stage: Any, path: str) -> Any:
    for name in path.split("."):
        stage = getattr(stage, name, None)
    return stage


def _first(count: int | None, new: Any, old: Any) -> list[tuple[Stage, Stage]]:
    pairs = list(zip(new.spec.stages, old.spec.stages, strict=False))
    # Not strict: stages may have been appended, and those have neither begun nor ended.
    return pairs[: count or 0]


ENDED_STAGES = Transition(
    cel=_of_stage("stagesEnded", "$s == $o"),
    message="a stage that has ended keeps its settings, since nothing reads them any more: undo the"
    " edit, or append a stage with the new settings",
    holds=lambda new, old: all(
        one == before for one, before in _first(old.status.stages_ended, new, old)
    ),
)

BEGUN_STAGES = Transition(
    cel=_of_stage("stagesBegun", " && ".join(map(_same, BEGUN_FIELDS))),
    message="startFrom, and tasks, trials, maxTasks and seed of an evaluation, are fixed once the"
    " stage has begun: undo the edit, or append a stage with the new settings",
    holds=lambda new, old: all(
        _value(one, path) == _value(before, path)
        for one, before in _first(old.status.stages_begun, new, old)
        for path in BEGUN_FIELDS.values()
    ),
)
