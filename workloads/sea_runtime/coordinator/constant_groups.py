"""Nothing to learn from: all groups of a good while had equal rewards and were dropped.

Each is replaced by another prompt, so an RL stage whose user hangs up first, or whose tasks are all
too hard or all solved, would go on for ever without a batch, in silence. `troubles` asks here at
every look; rollouts go on trying, and the first group that is kept ends the problem.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Row

from sea_api.v1alpha1.stages import Stage
from sea_api.wire.state import Problem
from sea_env.episodes.limits import ENDED_BY_USER
from sea_runtime.coordinator import program
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.states import GroupState

BATCHES = 4
LEAST = 16


def enough(prompts_per_step: int) -> int:
    """Dropped groups in a row that are a good while: four batches, and never just a few."""
    return max(LEAST, BATCHES * prompts_per_step)


def nothing_kept(newest: Sequence[str], prompts_per_step: int) -> bool:
    """Whether all of a good while's groups were dropped; `newest` are states, newest first."""
    recent = newest[: enough(prompts_per_step)]
    dropped = [state for state in recent if state == GroupState.FILTERED]
    return len(dropped) == enough(prompts_per_step)


@dataclass(frozen=True)
class Seen:
    """Dropped groups of a stage."""

    rewards: Sequence[float]
    """The reward of all episodes of a group, one number a group."""
    ends: Mapping[str, int]
    """Their episodes by the word for their end (`Stop`)."""
    silent: int
    """Those of them that the user ended before the agent had spoken."""


def look(db: Database, stage: Stage) -> Problem | None:
    """The stage's problem, from the ledger. Walks back from the newest group, no further."""
    prompts = program.rl_block(stage).prompts_per_step
    newest = db.rows(
        "SELECT number, state, mean_reward FROM groups NOT INDEXED WHERE stage = ? AND state IN "
        "('Filtered', 'Admitted', 'Assigned', 'Covered') ORDER BY number DESC LIMIT ?",
        stage.name,
        enough(prompts),
    )
    if not nothing_kept([row["state"] for row in newest], prompts):
        return None
    return problem(stage.name, _seen(db, newest))


def _seen(db: Database, dropped: Sequence[Row]) -> Seen:
    rows = db.rows(
        "SELECT e.stop, e.turns, COUNT(*) AS episodes FROM groups g "
        "JOIN episodes e ON e.group_number = g.number WHERE g.number >= ? AND g.state = ? "
        "GROUP BY e.stop, e.turns",
        min(row["number"] for row in dropped),
        GroupState.FILTERED,
    )
    ends: Counter[str] = Counter()
    for row in rows:
        ends[row["stop"]] += row["episodes"]
    silent = [row for row in rows if row["turns"] == 0 and row["stop"] in ENDED_BY_USER]
    return Seen(
        rewards=[row["mean_reward"] for row in dropped],
        ends=ends,
        silent=sum(row["episodes"] for row in silent),
    )


def problem(stage: str, seen: Seen) -> Problem:
    """What to tell the user. Pure."""
    total = sum(seen.ends.values())
    return Problem(
        reason="NothingToLearn",
        message=f"The last {len(seen.rewards)} groups of stage '{stage}' were dropped because all "
        f"rewards of a group were equal: {_rewards(seen.rewards)}. In "
        f"{100 * seen.silent / total:.0f} % of their {total} episodes the user ended the call "
        f"before the agent spoke; the most frequent end was {_commonest(seen.ends)}. "
        f"{_advice(seen)} Rollouts go on trying.",
    )


def _rewards(rewards: Sequence[float]) -> str:
    """`all 0`, or `12 groups with 0, 4 with 1`."""
    counts = sorted(Counter(rewards).items())
    if len(counts) == 1:
        return f"all {counts[0][0]:g}"
    (first, count), *others = counts
    return ", ".join(
        [f"{count} groups with {first:g}", *(f"{count} with {value:g}" for value, count in others)]
    )


def _commonest(ends: Mapping[str, int]) -> str:
    name, count = max(ends.items(), key=lambda item: (item[1], item[0]))
    return f"{name} ({100 * count / sum(ends.values()):.0f} %)"


def _advice(seen: Seen) -> str:
    if 2 * seen.silent >= sum(seen.ends.values()):
        return (
            "Give the agent a user that talks: train the user model longer in a UserSFT stage, or "
            "name another model or engine in spec.userModel."
        )
    if max(seen.rewards) <= 0:
        return (
            "The tasks are too hard for this policy: train it longer in an SFT stage before, put "
            "easier tasks among the data, or raise rl.trajectoriesPerPrompt."
        )
    if min(seen.rewards) >= 1:
        return (
            "The policy solves these tasks already: put harder ones among the data, or end the "
            "stage with fewer rl.steps."
        )
    return (
        "Every task is either always or never solved: raise rl.trajectoriesPerPrompt or "
        "rl.temperature, or take tasks between the two."
    )
