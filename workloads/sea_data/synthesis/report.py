"""Cost and yield of a run per plan: `report.json`, and a table for the terminal."""

from collections.abc import Iterator
from typing import Any

from sea_data.synthesis.item import Blame
from sea_data.synthesis.run_state import RunState, Tally

_MAX_REASONS = 3
_GOALS_WIDTH = 44


def as_dict(state: RunState) -> dict[str, Any]:
    """The content of `report.json`."""
    tallies = list(state.tallies.values())
    return {
        "settings": state.header,
        "accepted": state.accepted,
        "items": sum(state.items.values()),
        "tokens": sum(t.cost.tokens for t in tallies) + state.overhead.tokens,
        "seconds": round(sum(t.cost.seconds for t in tallies) + state.overhead.seconds, 3),
        "rounds": [
            {"round": number, "items": state.items[number], "accepted": state.accepted_in[number]}
            for number in sorted(state.plans)
        ],
        "plans": [_plan(tally) for tally in tallies],
    }


def _plan(tally: Tally) -> dict[str, Any]:
    plan = tally.plan
    return {
        "plan": plan.id,
        "revision": plan.revision,
        "goals": list(plan.goals),
        "complexity": plan.complexity,
        "mode": plan.mode,
        "style": plan.style,
        "items": tally.items,
        "accepted": tally.accepted,
        "yield": round(tally.yield_, 4),
        "blamedTask": tally.blamed[Blame.TASK],
        "blamedTrajectory": tally.blamed[Blame.TRAJECTORY],
        "withoutAnswer": tally.blamed[Blame.INFRASTRUCTURE],
        "tokens": tally.cost.tokens,
        "seconds": round(tally.cost.seconds, 6),
        "reasons": dict(tally.reasons.most_common(_MAX_REASONS)),
    }


def table(state: RunState) -> Iterator[str]:
    """Lines of the table, header first."""
    yield (
        f"{'plan':<9}{'goals':<{_GOALS_WIDTH + 2}}{'mode':<8}{'style':<11}"
        f"{'items':>6}{'good':>6}{'yield':>7}{'task':>6}{'traj.':>6}{'no ans':>8}"
        f"{'tokens':>10}{'s/task':>9}"
    )
    for tally in state.tallies.values():
        yield _line(tally)


def _line(tally: Tally) -> str:
    plan = tally.plan
    goals = " + ".join(plan.goals)
    goals = goals if len(goals) <= _GOALS_WIDTH else goals[: _GOALS_WIDTH - 3] + "..."
    each = f"{tally.cost.seconds / tally.accepted:9.4f}" if tally.accepted else f"{'-':>9}"
    return (
        f"{plan.id + '.' + str(plan.revision):<9}{goals:<{_GOALS_WIDTH + 2}}{plan.mode:<8}"
        f"{plan.style:<11}{tally.items:>6}{tally.accepted:>6}{tally.yield_:>7.0%}"
        f"{tally.blamed[Blame.TASK]:>6}{tally.blamed[Blame.TRAJECTORY]:>6}"
        f"{tally.blamed[Blame.INFRASTRUCTURE]:>8}"
        f"{tally.cost.tokens:>10}{each}"
    )
