"""How a container's run ended, and whether and when the container is started again. Pure."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .container_record import Termination

MAX_MESSAGE_BYTES = 4096
MAX_FALLBACK_BYTES = 2048
MAX_FAILED_START_SECONDS = 60.0
"""bubblewrap fails within milliseconds, or later on a busy machine."""
_BWRAP = "bwrap: "


@dataclass(frozen=True)
class BackoffPolicy:
    """Seconds: the first wait, the longest wait, and the run time that counts as healthy."""

    start: float
    limit: float
    reset_after: float


@dataclass(frozen=True)
class Backoff:
    """Number of consecutive restarts after a short run."""

    crashes: int = 0


def after_exit(policy: BackoffPolicy, backoff: Backoff, ran_for: float) -> tuple[Backoff, float]:
    """The back-off after a run of `ran_for` seconds, and the seconds to wait before the next run.

    The first restart is immediate, as with a kubelet; then start, 2*start, ... up to the limit.
    """
    crashes = 0 if ran_for >= policy.reset_after else backoff.crashes
    # The exponent is bounded: 2.0 ** 1024 raises OverflowError after weeks of restarts.
    wait = 0.0 if crashes == 0 else min(policy.limit, policy.start * 2.0 ** min(crashes - 1, 40))
    return Backoff(crashes + 1), wait


def should_restart(restart_policy: str, exit_code: int) -> bool:
    """True if the restart policy of a pod or a sidecar restarts a container after this exit."""
    return restart_policy == "Always" or (restart_policy == "OnFailure" and exit_code != 0)


@dataclass(frozen=True)
class FinishedRun:
    """Everything known about a run that ended."""

    exit_code: int
    started_at: datetime
    finished_at: datetime
    container_id: str
    oom_kills: int
    """Number of processes that the kernel's OOM killer ended on this machine during the run."""
    killed_by_agent: bool
    termination_message: str
    output: tuple[str, ...]
    """Last lines of the log."""
    fall_back_to_logs: bool = False


def classify(run: FinishedRun) -> Termination:
    """The `terminated` state of a run."""
    seconds = (run.finished_at - run.started_at).total_seconds()
    code, reason, message = run.exit_code, "Error", run.termination_message
    if code == 0:
        reason = "Completed"
    elif _never_started(run, seconds):
        # A container runtime reports 128 and StartError for a command that can't be executed.
        code, reason = 128, "StartError"
        message = run.output[-1].removeprefix(_BWRAP)
    # 137 is 128 + SIGKILL. The counter is the machine's, so it is asked only about such an exit.
    elif code == 137 and run.oom_kills and not run.killed_by_agent:
        reason = "OOMKilled"
    if not message and code and run.fall_back_to_logs:
        message = "\n".join(run.output)[-MAX_FALLBACK_BYTES:]
    return Termination(code, reason, run.started_at, run.finished_at, message, run.container_id)


def _never_started(run: FinishedRun, seconds: float) -> bool:
    """True if bubblewrap itself failed: exit code 1, and its own message as the only output."""
    return (
        run.exit_code == 1
        and seconds < MAX_FAILED_START_SECONDS
        and len(run.output) == 1
        and run.output[0].startswith(_BWRAP)
    )


def oom_kills() -> int:
    """Number of processes that the OOM killer has ended on this machine so far."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


def read_termination_message(path: Path) -> str:
    """What the program wrote to its terminationMessagePath, truncated as by a kubelet."""
    try:
        return path.read_bytes()[:MAX_MESSAGE_BYTES].decode(errors="replace")
    except OSError:
        return ""
