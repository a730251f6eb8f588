"""The supervisor's decisions, as a table of what it sees and what it then does."""

import pytest

from sea_runtime.trainer import lifecycle
from sea_runtime.trainer.lifecycle import (
    FENCED,
    HANG_SECONDS,
    Assign,
    Failure,
    Kill,
    Observed,
    Start,
    State,
    decide,
)
from sea_runtime.wire.membership import PodState, TrainerWorld


def world(attempt: int, pods: list[str] | None = None, processes: int = 1) -> TrainerWorld:
    return TrainerWorld(
        attempt=attempt,
        pods=pods or ["a", "b"],
        processes_per_pod=processes,
        master_address="127.0.0.2",
        master_port=29500 + attempt,
    )


WARM = State(started=True)
RUNNING = State(started=True, running=1)
FAILED = State(failure=Failure(1, "ProcessExit", "x"))

TABLE = [
    ("at first processes are started to import", State(), Observed(None), WARM, [Start()]),
    ("they wait for a world", WARM, Observed(None, [None]), WARM, []),
    (
        "a world is handed on",
        WARM,
        Observed(world(1), [None]),
        RUNNING,
        [Assign(world(1))],
    ),
    ("and runs", RUNNING, Observed(world(1), [None]), RUNNING, []),
    (
        "a newer attempt ends the old one",
        RUNNING,
        Observed(world(2), [None]),
        State(),
        [Kill()],
    ),
    ("so does run=false", RUNNING, Observed(None, [None]), State(), [Kill()]),
    (
        "a bad exit is a failure of the attempt",
        RUNNING,
        Observed(world(1), [1, None], last_line="ValueError: x"),
        State(failure=Failure(1, "ProcessExit", "exit code 1: ValueError: x")),
        [Kill()],
    ),
    (
        "a signal too",
        RUNNING,
        Observed(world(1), [-9]),
        State(failure=Failure(1, "ProcessExit", "killed by signal 9")),
        [Kill()],
    ),
    (
        "what the process reported says more",
        RUNNING,
        Observed(world(1), [1], reported=("Hang", "Timed out.")),
        State(failure=Failure(1, "Hang", "Timed out.")),
        [Kill()],
    ),
    (
        "the kernel's word on memory beats all",
        RUNNING,
        Observed(world(1), [-9], out_of_memory=True),
        State(failure=Failure(1, "OutOfMemory", "The kernel killed a process for memory.")),
        [Kill()],
    ),
    (
        "silence is a hang",
        RUNNING,
        Observed(world(1), [None], silence=HANG_SECONDS + 1),
        State(
            failure=Failure(
                1, "Hang", f"No training process has reported for {HANG_SECONDS + 1:.0f} s."
            )
        ),
        [Kill()],
    ),
    (
        "a failed pod warms up again",
        FAILED,
        Observed(None),
        State(True, 0, 0, FAILED.failure),
        [Start()],
    ),
    (
        "but doesn't run the failed attempt",
        State(True, 0, 0, FAILED.failure),
        Observed(world(1), [None]),
        State(True, 0, 0, FAILED.failure),
        [],
    ),
    (
        "only a newer one",
        State(True, 0, 0, FAILED.failure),
        Observed(world(2), [None]),
        State(True, 2),
        [Assign(world(2))],
    ),
    ("the end is waited for on all", RUNNING, Observed(world(1), [0, None]), RUNNING, []),
    ("all ended well", RUNNING, Observed(world(1), [0, 0]), State(finished=1), []),
    ("nothing is started then", State(finished=1), Observed(world(1)), State(finished=1), []),
    ("until it isn't wanted any more", State(finished=1), Observed(None), WARM, [Start()]),
    (
        "a fenced process waits for the next attempt",
        RUNNING,
        Observed(world(1), [FENCED, None]),
        State(finished=1),
        [Kill()],
    ),
    (
        "an end before any world is a failure of the one that waits",
        WARM,
        Observed(world(1), [1], last_line="ImportError"),
        State(failure=Failure(1, "ProcessExit", "exit code 1: ImportError")),
        [Kill()],
    ),
    ("and else just another start", WARM, Observed(None, [1]), State(), [Kill()]),
]


@pytest.mark.parametrize(
    ("_", "state", "seen", "after", "actions"), TABLE, ids=[r[0] for r in TABLE]
)
def test_decisions(_, state, seen, after, actions) -> None:
    assert decide(state, seen) == (after, actions)


@pytest.mark.parametrize(
    ("state", "joined", "wanted"),
    [
        (WARM, [0], (PodState.STARTING, 0)),
        (RUNNING, [0, 1], (PodState.STARTING, 1)),
        (RUNNING, [1, 1], (PodState.READY, 1)),
        (FAILED, [], (PodState.FAILED, 1)),
        (State(finished=1), [], (PodState.STARTING, 0)),
    ],
)
def test_heartbeats(state: State, joined: list[int], wanted: tuple[PodState, int]) -> None:
    assert lifecycle.heartbeat_state(state, joined)[:2] == wanted


def test_ranks_follow_the_order_of_pods() -> None:
    places = lifecycle.assignments(world(3, processes=2), "b", 60.0)
    assert [(one.rank, one.local_rank, one.world_size) for one in places] == [(2, 0, 4), (3, 1, 4)]
    assert {one.attempt for one in places} == {3}
