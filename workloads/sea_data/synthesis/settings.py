"""What a run is asked for."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """One domain's run. Two runs with equal settings make, without a model, equal rows."""

    domain: str
    count: int
    """Accepted tasks to make."""
    seed: int = 0
    rounds: int = 1
    """K: rounds of making and checking; between two of them reflection rewrites plans."""
    plans: int = 64
    """Plans of a round (64 in the paper's full setting)."""
    model: str = ""
    """Empty: procedural workers."""
    worlds: str = ""
    """Fingerprint of the databases and policies that tasks are made on."""
    concurrency: int = 1
    """Items in the making at one time; 1 keeps procedural runs deterministic."""
    attempts: int = 4
    """Items that may be tried, in a round, for each task that the round is to add."""
    patience: int = 8
    """Failures after which a plan without a single success rests until the round is over."""

    def header(self) -> dict[str, Any]:
        """What a resumed run must agree on with the journal."""
        kept = asdict(self)
        for free in ("concurrency", "attempts", "patience"):
            kept.pop(free)
        return kept
