"""The parts of the run of `run_model.py`: what each remembers between two rounds."""

import json
from dataclasses import dataclass, field

from sea_runtime.coordinator.errors import GoneError, StaleError
from sea_runtime.trainer.errors import FencedError
from sea_runtime.wire.checkpoints import FORMAT
from sea_runtime.wire.rollouts import Lease
from sea_runtime.wire.trainer import LedgerSnapshot
from sea_runtime.wire.weights import WeightVersion

BATCH, STEPS, EVERY = 2, 10, 2
TRAINER_PODS = 2
JOIN_ROUNDS = 3
"""After which processes that wait for a missing rank give up: gloo's time-out."""
PHASES = 3
"""Of a save: snapshot, head, report."""
BUFFERS = 3
"""Versions that a trainer's memory still holds."""

ENDED = (StaleError, FencedError, GoneError)
"""What ends a training process: its attempt has ended, or its step is covered already."""

Lineage = tuple[tuple[str, ...], ...]
"""Groups of each step that the parameters have been trained on."""


@dataclass
class Save:
    """A checkpoint on its way; `phase` counts what is done: snapshot, head, report."""

    step: int
    lineage: Lineage
    phase: int = 0
    ledger: LedgerSnapshot | None = None


@dataclass
class TrainerPod:
    """A trainer pod and its supervisor."""

    name: str
    life: int = 0
    alive: bool = True
    leaving: bool = False
    """It is being deleted, and waits for a last checkpoint."""
    attempt: int = 0
    """Whose processes it runs; 0: none."""
    failed: int = 0
    """Attempt whose processes failed here, until it hears of another."""

    @property
    def incarnation(self) -> str:
        return f"{self.name}-{self.life}"


@dataclass
class Process:
    """The training processes of one attempt, as their rank 0."""

    attempt: int
    pods: list[str] = field(default_factory=list)
    opened: bool = False
    resumed: int = 0
    lineage: Lineage = ()
    epoch: str = ""
    wakes: int = 0
    """The round until which a zombie is frozen."""
    saves: list[Save] = field(default_factory=list)
    published: list[WeightVersion] = field(default_factory=list)
    copies: list[WeightVersion] = field(default_factory=list)
    """Anchors that are still being uploaded."""

    @property
    def step(self) -> int:
        return len(self.lineage)


@dataclass
class Engine:
    """A rollout pod: its engine and its worker."""

    pod: str
    life: int = 0
    adopted: int = 0
    attempt: int = 0
    """Of the trainer that published it."""
    stuck: bool = False
    """Fetches no weights until the next disturbance ends."""
    leases: list[Lease] = field(default_factory=list)
    left_behind: bool = False
    """Its weights come after a checkpoint that the run has gone back to."""

    @property
    def incarnation(self) -> str:
        return f"{self.pod}-{self.life}"


def head_url(run_url: str) -> str:
    return f"{run_url}/stages/rl/checkpoints/head.json"


def manifest(save: Save, attempt: int) -> bytes:
    """Of the parts that are looked at."""
    assert save.ledger is not None
    ledger = {**save.ledger.model_dump(), "name": ""}
    named = {
        "format": FORMAT,
        "stage": "rl",
        "stream": "policy",
        "step": save.step,
        "attempt": attempt,
        "version": save.step,
        "world_size": 1,
        "finished": False,
        "time": 0.0,
        "objects": [],
        "ledger": ledger,
    }
    return json.dumps(named).encode()
