"""What a supervisor does about its training processes: a pure state machine.

`supervisor.py` observes (heartbeat reply, exit codes, reports of the processes), calls `decide`
once a second and whenever something happens, and carries the actions out.

    WARM --world of a new attempt--> RUNNING --processes exit 0--> DONE
      ^                                    |----- bad exit, hang ---> FAILED (told to the operator)
      |                                    '----- fenced -----------> WAITING
      '--- processes are started anew, libraries imported, and wait for their world
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sea_api.v1alpha1.policy import Cause
from sea_runtime.trainer.world import World
from sea_runtime.wire.membership import PodState, TrainerWorld

FENCED = 3
"""Exit code of a process that a newer attempt has replaced."""
HANG_S = 900.0
"""Silence of a joined process that counts as a hang; every collective has a shorter time-out."""


@dataclass(frozen=True)
class Failure:
    attempt: int
    cause: str
    message: str


@dataclass(frozen=True)
class State:
    """What the supervisor remembers."""

    started: bool = False
    """Processes exist, warm or running."""
    running: int = 0
    """Attempt they were handed; 0 while they only wait."""
    over: int = 0
    """Attempt that ended here without a failure; not run again until it's wanted anew."""
    failure: Failure | None = None


@dataclass(frozen=True)
class Observed:
    wanted: TrainerWorld | None
    """The world to run; None where no process should train in this pod now."""
    exits: Sequence[int | None] = ()
    """Exit code of each process, None while it runs."""
    reported: tuple[str, str] | None = None
    """(cause, message) that a process sent before it ended."""
    last_line: str = ""
    """Last line that a process wrote to stderr."""
    silence: float = 0.0
    """Seconds since a process was last heard of."""
    out_of_memory: bool = False
    """The kernel killed for memory in this pod since the processes started."""


@dataclass(frozen=True)
class Start:
    """Start the processes; they import and wait for a world."""


@dataclass(frozen=True)
class Hand:
    """Give the waiting processes their world."""

    world: TrainerWorld


@dataclass(frozen=True)
class Kill:
    """End all processes."""


Action = Start | Hand | Kill


def decide(state: State, seen: Observed) -> tuple[State, list[Action]]:
    """The next state and what to do now, in this order."""
    if state.running:
        return _running(state, seen)
    if state.over and (seen.wanted is None or seen.wanted.attempt != state.over):
        state = replace(state, over=0)
    return _waiting(state, seen)


def _waiting(state: State, seen: Observed) -> tuple[State, list[Action]]:
    fresh = seen.wanted if _is_new(state, seen.wanted) else None
    if not state.started:
        idle = state.over and fresh is None
        return (state, []) if idle else (replace(state, started=True), [Start()])
    if any(code is not None for code in seen.exits):
        return _broken_start(state, seen)
    if fresh is None:
        return state, []
    return replace(state, running=fresh.attempt, failure=None), [Hand(fresh)]


def _broken_start(state: State, seen: Observed) -> tuple[State, list[Action]]:
    """A process ended before it had a world: a failure of the attempt that waits for it."""
    cleared = replace(state, started=False)
    if seen.wanted is None or not _is_new(state, seen.wanted):
        return cleared, [Kill()]
    return replace(cleared, failure=_failure(seen.wanted.attempt, seen)), [Kill()]


def _running(state: State, seen: Observed) -> tuple[State, list[Action]]:
    ended = [code for code in seen.exits if code is not None]
    stopped = replace(state, started=False, running=0)
    if ended and all(code == 0 for code in ended):
        if len(ended) < len(seen.exits):
            return state, []
        return replace(stopped, over=state.running), []
    if FENCED in ended:
        return replace(stopped, over=state.running), [Kill()]
    if ended:
        return replace(stopped, failure=_failure(state.running, seen)), [Kill()]
    if seen.wanted is None or seen.wanted.attempt != state.running:
        return stopped, [Kill()]
    if seen.silence > HANG_S:
        text = f"No training process was heard of for {seen.silence:.0f} s."
        return replace(stopped, failure=Failure(state.running, Cause.HANG, text)), [Kill()]
    return state, []


def _is_new(state: State, wanted: TrainerWorld | None) -> bool:
    if wanted is None or wanted.attempt == state.over:
        return False
    return state.failure is None or wanted.attempt > state.failure.attempt


def _failure(attempt: int, seen: Observed) -> Failure:
    if seen.out_of_memory:
        return Failure(attempt, Cause.OUT_OF_MEMORY, "The kernel killed a process for memory.")
    if seen.reported:
        cause, message = seen.reported
        return Failure(attempt, cause, message)
    codes = ", ".join(_words(code) for code in seen.exits if code)
    return Failure(attempt, Cause.PROCESS_EXIT, f"{codes}: {seen.last_line}".rstrip(": "))


def _words(code: int) -> str:
    """subprocess's convention: negative is a signal."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def heartbeat_state(state: State, joined: Sequence[int]) -> tuple[PodState, int, str, str]:
    """(state, attempt, cause, detail) of the next heartbeat; attempt 0 while none runs.

    `joined` holds the attempt that each process has joined.
    """
    if state.running:
        ready = bool(joined) and all(one == state.running for one in joined)
        return (PodState.READY if ready else PodState.STARTING), state.running, "", ""
    if state.failure is not None:
        failure = state.failure
        return PodState.FAILED, failure.attempt, failure.cause, failure.message
    return PodState.STARTING, 0, "", ""


def worlds(world: TrainerWorld, pod: str, timeout_s: float) -> list[World]:
    """The place of each of this pod's processes in the attempt."""
    first = world.pods.index(pod) * world.processes_per_pod
    return [
        World(
            attempt=world.attempt,
            rank=first + local,
            size=len(world.pods) * world.processes_per_pod,
            local_rank=local,
            master_address=world.master_address,
            master_port=world.master_port,
            timeout_s=timeout_s,
        )
        for local in range(world.processes_per_pod)
    ]
