"""What a run is asked for (`RunSettings`) and what it has so far (`RunState`).

The engine records events in the journal and applies them here in the same order, so a resumed run
has the state of the one that was killed. Progress, report and data set are read from the state.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sea_data.synthesis.plan import Blame, Cost, Failure, Plan


@dataclass(frozen=True)
class RunSettings:
    """One domain's run. Without a model, runs with equal settings yield equal rows."""

    domain: str
    count: int
    """Accepted tasks to produce."""
    seed: int = 0
    rounds: int = 1
    """K: rounds of making and checking; between rounds, reflection rewrites plans."""
    plans: int = 64
    """Plans per round (64 in the paper's full setting)."""
    model: str = ""
    """Name of the model; empty: the procedural backend."""
    databases: str = ""
    """Fingerprint of the databases and policies that tasks are made on."""
    concurrency: int = 1
    """Items made at the same time; 1 keeps procedural runs deterministic."""
    attempts: int = 4
    """Items that a round may try for each task that it is to add."""
    max_failures: int = 8
    """Failures after which a plan without any success rests until the end of the round."""

    def header(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the journal."""
        kept = asdict(self)
        for free in ("concurrency", "attempts", "max_failures"):
            kept.pop(free)
        return kept


_MAX_FAILURES_KEPT = 20
"""Per plan and round: what reflection reads."""


@dataclass
class Tally:
    """Results of one revision of a plan."""

    plan: Plan
    items: int = 0
    accepted: int = 0
    blamed: Counter[str] = field(default_factory=Counter)
    cost: Cost = field(default_factory=Cost)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def yield_(self) -> float:
        """Accepted share, 0 to 1, of the items that the model answered."""
        answered = self.items - self.blamed[Blame.INFRASTRUCTURE]
        return self.accepted / answered if answered else 0.0


class RunState:
    """Sum of the journal's events; `apply` takes them in the journal's order."""

    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.plans: dict[int, list[Plan]] = {}
        """By round."""
        self.done: set[str] = set()
        """Keys of items that have a result."""
        self.digests: set[str] = set()
        self.tallies: dict[tuple[str, int], Tally] = {}
        """By plan and revision, in the order of planning."""
        self.failures: dict[tuple[int, str], list[Failure]] = {}
        """The newest failures, by round and plan."""
        self.items: Counter[int] = Counter()
        self.accepted_in: Counter[int] = Counter()
        """By round, as `items`."""
        self.overhead = Cost()
        """Cost of planning and reflection."""

    @property
    def accepted(self) -> int:
        return sum(self.accepted_in.values())

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Adds an event. Returns False if it repeats an earlier one."""
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
        # Journals may repeat an item; it must not count twice.
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
            # Not the plan's failure: reflection must not rewrite the plan because of it.
            return True
        kept = self.failures.setdefault((event["round"], event["plan"]), [])
        kept.append(failure)
        # The newest ones are kept; the tally above counts them all.
        del kept[:-_MAX_FAILURES_KEPT]
        return True
