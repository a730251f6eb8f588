"""Zero advantage: all rewards of each recent group were equal, so all groups were dropped.

Each is replaced by another prompt, so an RL stage whose user hangs up first, or whose tasks are all
too hard or all solved, would run forever without a batch. The stage controller asks here on every
pass; rollouts go on trying, and the first group that is kept ends the problem.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Row

from sea_api.v1alpha1.stages import Stage
from sea_api.wire.state import Problem, Severity
from sea_env.episodes.limits import Stop
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.ledger import groups
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.groups import GroupState

BATCHES = 4
MIN_GROUPS = 16


def enough(prompts_per_step: int) -> int:
    """How many dropped groups in a row are a problem: four batches, and never just a few."""
    return max(MIN_GROUPS, BATCHES * prompts_per_step)


def nothing_kept(newest: Sequence[str], prompts_per_step: int) -> bool:
    """Whether all of the `enough` newest groups were dropped; `newest` are states, newest first."""
    recent = newest[: enough(prompts_per_step)]
    dropped = [state for state in recent if state == GroupState.FILTERED]
    # False while there are fewer groups than that: a young stage has no problem yet.
    return len(dropped) == enough(prompts_per_step)


@dataclass(frozen=True)
class Seen:
    """Dropped groups of a stage."""

    groups: int
    rewards: Sequence[float]
    """The reward that all judged episodes of a group share, one number per group with one."""
    ends: Mapping[str, int]
    """Number of their episodes by reason of their end (`Stop`)."""
    silent: int
    """Those of them that ended before the agent had a turn."""


def look(db: Database, stage: Stage) -> Problem | None:
    """The stage's problem, from the ledger."""
    prompts = stage_plan.rl_block(stage).prompts_per_step
    newest = groups.newest_finished(db, stage.name, enough(prompts))
    if not nothing_kept([row["state"] for row in newest], prompts):
        return None
    return problem(stage.name, _seen(db, newest))


def _seen(db: Database, dropped: Sequence[Row]) -> Seen:
    rows = groups.dropped_ends(db, min(row["number"] for row in dropped))
    ends: Counter[str] = Counter()
    for row in rows:
        ends[row["stop"]] += row["episodes"]
    silent = [row for row in rows if row["turns"] == 0 and row["stop"]]
    return Seen(
        groups=len(dropped),
        # None: the agent never had a turn in the whole group.
        rewards=[row["mean_reward"] for row in dropped if row["mean_reward"] is not None],
        ends=ends,
        silent=sum(row["episodes"] for row in silent),
    )


def problem(stage: str, seen: Seen) -> Problem:
    """The message for the user. Pure."""
    total = sum(seen.ends.values())
    return Problem(
        reason="NothingToLearn",
        message=f"The last {seen.groups} groups of stage '{stage}' were dropped because all "
        "rewards of a group were equal, or their mean above maxMeanReward: "
        f"{_rewards(seen.rewards)}. In "
        f"{100 * seen.silent / total:.0f} % of their {total} episodes the agent never "
        f"had a turn; the most frequent end was {_commonest(seen.ends)}. "
        f"{_advice(seen)} Rollouts go on trying.",
        severity=Severity.WARNING,
    )


def _rewards(rewards: Sequence[float]) -> str:
    """`all 0`, or `12 groups with 0, 4 with 1`."""
    counts = sorted(Counter(rewards).items())
    if not counts:
        return "none, since no episode was judged"
    if len(counts) == 1:
        return f"all {counts[0][0]:g}"
    (first, count), *others = counts
    return ", ".join(
        [f"{count} groups with {first:g}", *(f"{count} with {value:g}" for value, count in others)]
    )


def _commonest(ends: Mapping[str, int]) -> str:
    name = _most_frequent(ends)
    return f"{name} ({100 * ends[name] / sum(ends.values()):.0f} %)"


def _most_frequent(ends: Mapping[str, int]) -> str:
    return max(ends.items(), key=lambda item: (item[1], item[0]))[0]


_BY_END = {
    Stop.CONTEXT_FULL: "The dialogues don't fit: raise model.contextLength in a new job, or lower "
    "the stage's maxTokensPerTurn and maxTurns.",
    Stop.TURN_TOO_LONG: "The agent's turns are cut off: raise the stage's maxTokensPerTurn, or "
    "train the policy in an SFT stage before, on dialogues with shorter turns.",
    Stop.MAX_TURNS: "The dialogues are cut off: raise the stage's maxTurns, or train the policy in "
    "an SFT stage before, so that it comes to the point.",
    Stop.MAX_MESSAGES: "The dialogues are cut off: raise the stage's maxMessages, or train the "
    "policy in an SFT stage before, so that it comes to the point.",
    Stop.BAD_FORMAT: "The agent writes calls that can't be read: check model.toolFormat against "
    "what the model was trained on, or train it longer in an SFT stage before.",
    Stop.TOOL_ERRORS: "The agent's calls are refused again and again: train it longer in an SFT "
    "stage before, and look at the errors in the run folder's rollouts.",
    Stop.LOOP: "The agent repeats itself: train it longer in an SFT stage before, or raise the "
    "stage's temperature or maxRepeats.",
    Stop.USER_STUCK: "The user calls its own tools and never speaks: name another model or engine "
    "in spec.userModel, or train it longer in a UserSFT stage.",
}
"""What helps if most episodes end this way, whatever their rewards."""


def _advice(seen: Seen) -> str:
    if 2 * seen.silent >= sum(seen.ends.values()):
        return (
            "Give the agent a user that talks: train the user model longer in a UserSFT stage, or "
            "name another model or engine in spec.userModel."
        )
    # Before the rewards: what cuts episodes off decides their rewards, not how hard a task is.
    end = _most_frequent(seen.ends)
    if end in _BY_END and (not seen.rewards or min(seen.rewards) < 1):
        return _BY_END[Stop(end)]
    if not seen.rewards or max(seen.rewards) <= 0:
        return (
            "The tasks are too hard for this policy: train it longer in an SFT stage before, add "
            "easier tasks to the data, or raise rl.trajectoriesPerPrompt."
        )
    if min(seen.rewards) >= 1:
        return (
            "The policy solves these tasks already: add harder ones to the data, or end the "
            "stage with fewer rl.steps."
        )
    return (
        "Every task is either always or never solved: raise rl.trajectoriesPerPrompt or "
        "rl.temperature, or take tasks between the two."
    )
