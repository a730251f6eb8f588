"""The supervisor's decisions, as a table of what it sees and what it then does."""

import pytest

from sea_api.v1alpha1.policy import Cause
from sea_runtime.trainer import supervision
from sea_runtime.trainer.process_protocol import ExitCode, ReportedFailure
from sea_runtime.trainer.supervision import (
    HANG_SECONDS,
    Action,
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


def failed(cause: Cause, message: str) -> State:
    return State(failure=Failure(1, cause, message))


WARM = State(started=True)
RUNNING = State(started=True, running=1)
FAILED = failed(Cause.PROCESS_EXIT, "x")
FAILED_WARM = State(started=True, failure=FAILED.failure)
STALLED = failed(Cause.USER_ERROR, "No access.")
SILENCE = (
    f"No training process of this pod has made progress for {HANG_SECONDS + 1:.0f} s; the limit by "
    f"its own steps is {HANG_SECONDS:.0f} s."
)

TABLE: list[tuple[str, State, Observed, State, list[Action]]] = [
    ("processes are started to import", State(), Observed(None), WARM, [Start()]),
    ("they wait for an assignment", WARM, Observed(None, [None]), WARM, []),
    ("a new attempt is assigned", WARM, Observed(world(1), [None]), RUNNING, [Assign(world(1))]),
    ("it runs", RUNNING, Observed(world(1), [None]), RUNNING, []),
    ("a newer attempt ends it", RUNNING, Observed(world(2), [None]), State(), [Kill()]),
    ("a withdrawn attempt ends", RUNNING, Observed(None, [None]), State(), [Kill()]),
    (
        "a bad exit is a failure of the attempt",
        RUNNING,
        Observed(world(1), [1, None], last_line="ValueError: x"),
        failed(Cause.PROCESS_EXIT, "exit code 1: ValueError: x"),
        [Kill()],
    ),
    (
        "a signal is one too",
        RUNNING,
        Observed(world(1), [-9]),
        failed(Cause.PROCESS_EXIT, "killed by signal 9"),
        [Kill()],
    ),
    (
        "a reported failure counts before the exit",
        RUNNING,
        Observed(world(1), [None], reported=ReportedFailure(Cause.HANG, "No progress.")),
        failed(Cause.HANG, "No progress."),
        [Kill()],
    ),
    (
        "and says more than the exit code",
        RUNNING,
        Observed(world(1), [1], reported=ReportedFailure(Cause.USER_ERROR, "No access.")),
        STALLED,
        [Kill()],
    ),
    (
        "the exit code alone shows a user's mistake",
        RUNNING,
        Observed(world(1), [ExitCode.USER_ERROR], last_line="No access."),
        failed(Cause.USER_ERROR, "exit code 4: No access."),
        [Kill()],
    ),
    (
        "the kernel's out-of-memory kill says most",
        RUNNING,
        Observed(world(1), [-9], out_of_memory=True),
        failed(Cause.OUT_OF_MEMORY, "The kernel killed a process for memory."),
        [Kill()],
    ),
    (
        "silence is a hang",
        RUNNING,
        Observed(world(1), [None], silence=HANG_SECONDS + 1),
        failed(Cause.HANG, SILENCE),
        [Kill()],
    ),
    ("a failed pod warms up again", FAILED, Observed(None), FAILED_WARM, [Start()]),
    (
        "but doesn't run the failed attempt",
        FAILED_WARM,
        Observed(world(1), [None]),
        FAILED_WARM,
        [],
    ),
    (
        "only a newer one",
        FAILED_WARM,
        Observed(world(2), [None]),
        State(started=True, running=2),
        [Assign(world(2))],
    ),
    ("a user's mistake is not restarted", STALLED, Observed(None), STALLED, []),
    ("nor while its attempt is desired", STALLED, Observed(world(1)), STALLED, []),
    (
        "a newer attempt is",
        STALLED,
        Observed(world(2)),
        State(started=True, failure=STALLED.failure),
        [Start()],
    ),
    ("all processes must stop", RUNNING, Observed(world(1), [0, None]), RUNNING, []),
    ("then the attempt is finished", RUNNING, Observed(world(1), [0, 0]), State(finished=1), []),
    ("and not run again", State(finished=1), Observed(world(1)), State(finished=1), []),
    ("unless it is withdrawn", State(finished=1), Observed(None), WARM, [Start()]),
    (
        "a fenced process waits for the next attempt",
        RUNNING,
        Observed(world(1), [ExitCode.FENCED, None]),
        State(finished=1),
        [Kill()],
    ),
    (
        "a fenced process hides what broke in the others",
        RUNNING,
        Observed(
            world(1), [3, None], reported=ReportedFailure(Cause.PROCESS_EXIT, "Peer is gone.")
        ),
        State(finished=1),
        [Kill()],
    ),
    (
        "an exit before any assignment is a failure of the attempt that waits",
        WARM,
        Observed(world(1), [1], last_line="ImportError"),
        failed(Cause.PROCESS_EXIT, "exit code 1: ImportError"),
        [Kill()],
    ),
    (
        "so is a reported one",
        WARM,
        Observed(world(1), [None], reported=ReportedFailure(Cause.PROCESS_EXIT, "ImportError")),
        failed(Cause.PROCESS_EXIT, "ImportError"),
        [Kill()],
    ),
    ("without an attempt it is just started again", WARM, Observed(None, [1]), State(), [Kill()]),
]


@pytest.mark.parametrize(
    ("_", "state", "seen", "after", "actions"), TABLE, ids=[row[0] for row in TABLE]
)
def test_decisions(
    _: str, state: State, seen: Observed, after: State, actions: list[Action]
) -> None:
    assert decide(state, seen) == (after, actions)


@pytest.mark.parametrize(
    ("state", "joined", "expected"),
    [
        (WARM, [0], (PodState.STARTING, 0)),
        (RUNNING, [0, 1], (PodState.STARTING, 1)),
        (RUNNING, [1, 1], (PodState.READY, 1)),
        (FAILED, [], (PodState.FAILED, 1)),
        (State(finished=1), [], (PodState.STARTING, 0)),
    ],
)
def test_heartbeats(state: State, joined: list[int], expected: tuple[PodState, int]) -> None:
    assert supervision.heartbeat_state(state, joined)[:2] == expected


def test_ranks_follow_the_order_of_pods() -> None:
    ranks = supervision.assignments(world(3, processes=2), "b", 60.0)
    assert [(one.rank, one.local_rank, one.world_size) for one in ranks] == [(2, 0, 4), (3, 1, 4)]
    assert {one.attempt for one in ranks} == {3}


@pytest.mark.parametrize(
    ("longest", "signs", "limit"),
    [
        (2.0, 5, 900.0),  # not enough known yet
        (2.0, 100, 300.0),  # never below a collective's time-out
        (45.0, 100, 450.0),
        (200.0, 100, 2000.0),  # steps that are slow by themselves
    ],
)
def test_a_hang_is_measured_by_the_steps_of_the_job(
    longest: float, signs: int, limit: float
) -> None:
    assert supervision.hang_seconds(longest, signs, 300.0) == limit

    def silent(seconds: float) -> Observed:
        return Observed(world(1), [None], silence=seconds, hang_seconds=limit)

    assert decide(RUNNING, silent(limit))[1] == []
    after, actions = decide(RUNNING, silent(limit + 1))
    assert actions == [Kill()]
    assert after.failure is not None
    assert after.failure.cause is Cause.HANG
