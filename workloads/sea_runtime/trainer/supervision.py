"""What a supervisor does about its training processes: a pure state machine.

`supervisor.py` observes (heartbeat reply, exit codes, status of the processes), calls `decide`
several times per second, and carries the actions out.

    WARM --assignment of a new attempt--> RUNNING --all exit 0 --> FINISHED
      ^                                     |------ failure, hang --> FAILED (the operator decides)
      |                                     '------ fenced ---------> FINISHED
      '--- processes are started, import their libraries, and wait for an assignment
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sea_api.v1alpha1.policy import Cause
from sea_runtime.trainer.process_protocol import ExitCode, RankAssignment, ReportedFailure
from sea_runtime.wire.membership import PodState, TrainerWorld

HANG_SECONDS = 900.0
"""Silence of a joined process that counts as a hang, before its own steps say what is usual."""
HANG_FACTOR = 10.0
"""Times the longest silence between two signs of progress so far."""
MIN_SIGNS = 30
"""Signs of progress, at most one per second, after which that is known."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed in this pod."""

    attempt: int
    cause: Cause
    message: str


@dataclass(frozen=True)
class State:
    """What the supervisor remembers."""

    started: bool = False
    """Processes exist, warm or running."""
    running: int = 0
    """Attempt that the processes were assigned to; 0 while they only wait."""
    finished: int = 0
    """Attempt that ended here without a failure; not run again unless it is withdrawn between."""
    failure: Failure | None = None


@dataclass(frozen=True)
class Observed:
    """What the supervisor sees now."""

    desired: TrainerWorld | None
    """The attempt to run and its pods; None if no process should train in this pod."""
    exits: Sequence[int | None] = ()
    """Exit code of each process, None while it runs."""
    reported: ReportedFailure | None = None
    """What a process reported before it ends; it waits to be killed."""
    last_line: str = ""
    """Last line that a failed process wrote to stderr."""
    silence: float = 0.0
    """Seconds since any process was last heard."""
    hang_seconds: float = HANG_SECONDS
    """Silence that counts as a hang."""
    out_of_memory: bool = False
    """The kernel has killed a process of this pod for memory since the processes started."""


@dataclass(frozen=True)
class Start:
    """Start the processes; they import and wait for an assignment."""


@dataclass(frozen=True)
class Assign:
    """Assign the waiting processes their ranks."""

    world: TrainerWorld


@dataclass(frozen=True)
class Kill:
    """End all processes."""


Action = Start | Assign | Kill


def decide(state: State, seen: Observed) -> tuple[State, list[Action]]:
    """The next state, and the actions that lead there, in this order."""
    if state.running:
        return _running(state, seen)
    if state.finished and (seen.desired is None or seen.desired.attempt != state.finished):
        state = replace(state, finished=0)
    return _waiting(state, seen)


def _waiting(state: State, seen: Observed) -> tuple[State, list[Action]]:
    new = seen.desired if _is_new(state, seen.desired) else None
    if not state.started:
        if new is None and (state.finished or _user_error(state)):
            return state, []
        return replace(state, started=True), [Start()]
    # Before an assignment no exit is right, not even 0: the process was to wait.
    if seen.reported or any(code is not None for code in seen.exits):
        return _failed_start(state, seen)
    if new is None:
        return state, []
    return replace(state, running=new.attempt, failure=None), [Assign(new)]


def _failed_start(state: State, seen: Observed) -> tuple[State, list[Action]]:
    """A process failed before its assignment: a failure of the attempt that waits for it."""
    stopped = replace(state, started=False)
    if seen.desired is None or not _is_new(state, seen.desired):
        return stopped, [Kill()]
    return replace(stopped, failure=_failure(seen.desired.attempt, seen)), [Kill()]


def _running(state: State, seen: Observed) -> tuple[State, list[Action]]:
    ended = [code for code in seen.exits if code is not None]
    stopped = replace(state, started=False, running=0)
    # Before what the process reported: a fenced one was replaced, whatever broke on its way out.
    if ExitCode.FENCED in ended:
        return replace(stopped, finished=state.running), [Kill()]
    if ended and all(code == ExitCode.STOPPED for code in ended) and not seen.reported:
        # All ranks of the attempt stop together: wait for the rest instead of killing it.
        if len(ended) < len(seen.exits):
            return state, []
        return replace(stopped, finished=state.running), []
    # Before the withdrawal below: a failure that happened first must still be reported.
    if ended or seen.reported:
        return replace(stopped, failure=_failure(state.running, seen)), [Kill()]
    # The attempt was withdrawn or replaced; no failure of this pod.
    if seen.desired is None or seen.desired.attempt != state.running:
        return stopped, [Kill()]
    # Last: an exit or a report says more than silence.
    if seen.silence > seen.hang_seconds:
        text = (
            f"No training process of this pod has made progress for {seen.silence:.0f} s; the limit"
            f" by its own steps is {seen.hang_seconds:.0f} s."
        )
        return replace(stopped, failure=Failure(state.running, Cause.HANG, text)), [Kill()]
    return state, []


def hang_seconds(longest_silence: float, signs: int, collective_timeout_s: float) -> float:
    """Silence that counts as a hang, by what was usual in this attempt.

    Never below the time-out of collectives: ranks that wait for a slow one aren't hanging, and a
    collective that takes longer fails by itself, with a message of its own.
    """
    if signs < MIN_SIGNS:
        return max(HANG_SECONDS, collective_timeout_s)
    return max(collective_timeout_s, HANG_FACTOR * longest_silence)


def _is_new(state: State, desired: TrainerWorld | None) -> bool:
    if desired is None or desired.attempt == state.finished:
        return False
    # A failed attempt isn't run again here: the operator decides by giving out a higher number.
    return state.failure is None or desired.attempt > state.failure.attempt


def _failure(attempt: int, seen: Observed) -> Failure:
    # Before what a process reported: its peers report broken connections when the kernel kills one.
    if seen.out_of_memory:
        return Failure(attempt, Cause.OUT_OF_MEMORY, "The kernel killed a process for memory.")
    if seen.reported:
        return Failure(attempt, seen.reported.cause, seen.reported.message)
    cause = Cause.USER_ERROR if ExitCode.USER_ERROR in seen.exits else Cause.PROCESS_EXIT
    codes = ", ".join(_describe(code) for code in seen.exits if code)
    return Failure(attempt, cause, f"{codes}: {seen.last_line}".rstrip(": "))


def _user_error(state: State) -> bool:
    """True if a restart would fail the same way: no process is kept warm for it."""
    return state.failure is not None and state.failure.cause is Cause.USER_ERROR


def _describe(code: int) -> str:
    """An exit code in the convention of `subprocess`: a negative one is a signal."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def heartbeat_state(state: State, joined: Sequence[int]) -> tuple[PodState, int, Cause | None, str]:
    """(state, attempt, cause, detail) of the next heartbeat; attempt 0 while none runs.

    Args:
        joined: the attempt that each process has joined.
    """
    if state.running:
        ready = bool(joined) and all(one == state.running for one in joined)
        return (PodState.READY if ready else PodState.STARTING), state.running, None, ""
    if state.failure is not None:
        failure = state.failure
        return PodState.FAILED, failure.attempt, failure.cause, failure.message
    return PodState.STARTING, 0, None, ""


def assignments(world: TrainerWorld, pod: str, timeout_s: float) -> list[RankAssignment]:
    """The rank of each process of this pod, in the order of the attempt's pods."""
    first = world.pods.index(pod) * world.processes_per_pod
    return [
        RankAssignment(
            attempt=world.attempt,
            rank=first + local,
            world_size=len(world.pods) * world.processes_per_pod,
            local_rank=local,
            master_address=world.master_address,
            master_port=world.master_port,
            timeout_s=timeout_s,
        )
        for local in range(world.processes_per_pod)
    ]
