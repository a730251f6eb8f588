"""What a run knows: the journal's events, summed up. The same for a resumed and a running run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_data.synthesis.outcome import Blame, Cost, Failure
from sea_data.synthesis.plan import Plan

_KEPT_FAILURES = 20
"""Of one plan's round: what reflection gets to read."""


@dataclass
class Tally:
    """What one revision of a plan has yielded."""

    plan: Plan
    items: int = 0
    accepted: int = 0
    blamed: Counter[str] = field(default_factory=Counter)
    cost: Cost = field(default_factory=Cost)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def yield_(self) -> float:
        """Accepted share of the items that got their answers, 0 to 1."""
        answered = self.items - self.blamed[Blame.INFRASTRUCTURE]
        return self.accepted / answered if answered else 0.0


class State:
    """Fed by `apply`, in the journal's order."""

    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.plans: dict[int, list[Plan]] = {}
        """By round."""
        self.done: set[str] = set()
        """Keys of items that have an outcome."""
        self.digests: set[str] = set()
        self.tallies: dict[tuple[str, int], Tally] = {}
        """By plan and revision, in the order of planning."""
        self.failures: dict[tuple[int, str], list[Failure]] = {}
        """By round and plan, the newest."""
        self.items: Counter[int] = Counter()
        self.accepted_in: Counter[int] = Counter()
        """By round, as `items`."""
        self.overhead = Cost()
        """Of planning and reflection."""

    @property
    def accepted(self) -> int:
        return sum(self.accepted_in.values())

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Takes an event in; False where it repeats an earlier one."""
        kind = event["event"]
        if kind == "begin":
            self.header = dict(event["settings"])
        elif kind == "plans":
            self._plans(event)
        elif kind == "item":
            return self._item(event)
        return True

    def _plans(self, event: Mapping[str, Any]) -> None:
        found = [Plan.from_dict(plan) for plan in event["plans"]]
        self.plans[event["round"]] = found
        self.overhead += Cost(**event["cost"])
        for plan in found:
            self.tallies.setdefault((plan.id, plan.revision), Tally(plan))

    def _item(self, event: Mapping[str, Any]) -> bool:
        key, digest = event["item"], event.get("digest")
        if key in self.done or digest in self.digests:
            return False
        self.done.add(key)
        tally = self.tallies[event["plan"], event["revision"]]
        tally.items += 1
        tally.cost += Cost(**event["cost"])
        self.items[event["round"]] += 1
        if digest is not None:
            self.digests.add(digest)
            tally.accepted += 1
            self.accepted_in[event["round"]] += 1
            return True
        failure = Failure(Blame(event["blame"]), event["reason"])
        tally.blamed[failure.blame] += 1
        tally.reasons[failure.reason] += 1
        if failure.blame is Blame.INFRASTRUCTURE:
            return True  # no failure of the plan: reflection could only spoil it
        kept = self.failures.setdefault((event["round"], event["plan"]), [])
        kept.append(failure)
        del kept[:-_KEPT_FAILURES]
        return True
