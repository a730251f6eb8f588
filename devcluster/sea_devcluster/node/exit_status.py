"""How a container's run ended, and whether and when the container is started again. Pure."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .container_record import Termination

MESSAGE_BYTES = 4096
FALLBACK_BYTES = 2048
START_SECONDS = 60.0
"""bubblewrap fails within milliseconds; a busy machine may stretch them."""
_BWRAP = "bwrap: "


@dataclass(frozen=True)
class BackoffPolicy:
    """Seconds: the first wait, the longest wait, and the run time that counts as healthy."""

    start: float
    limit: float
    reset_after: float


@dataclass(frozen=True)
class Backoff:
    """How many restarts in a row followed an unhealthy run."""

    crashes: int = 0


def after_exit(policy: BackoffPolicy, backoff: Backoff, ran_for: float) -> tuple[Backoff, float]:
    """The back-off after a run of `ran_for` seconds, and the seconds to wait before the next run.

    The first restart is immediate, as a kubelet's is; then start, 2*start, ... up to the limit.
    """
    crashes = 0 if ran_for >= policy.reset_after else backoff.crashes
    wait = 0.0 if crashes == 0 else min(policy.limit, policy.start * 2.0 ** min(crashes - 1, 40))
    return Backoff(crashes + 1), wait


def should_restart(restart_policy: str, exit_code: int) -> bool:
    """Whether a pod's (or a sidecar's) restart policy starts a container again after this exit."""
    return restart_policy == "Always" or (restart_policy == "OnFailure" and exit_code != 0)


@dataclass(frozen=True)
class Ending:
    """What was seen of a run that ended."""

    exit_code: int
    started_at: datetime
    finished_at: datetime
    container_id: str
    oom_kills: int
    """Processes the kernel's OOM killer ended on this machine during the run."""
    killed_by_agent: bool
    termination_message: str
    output: tuple[str, ...]
    """The last lines of the log."""
    fall_back_to_logs: bool = False


def classify(ending: Ending) -> Termination:
    """The `terminated` state of a run. Pure."""
    seconds = (ending.finished_at - ending.started_at).total_seconds()
    code, reason, message = ending.exit_code, "Error", ending.termination_message
    if code == 0:
        reason = "Completed"
    elif _never_started(ending, seconds):
        # A container runtime reports 128 and StartError for a command that can't be executed.
        code, reason = 128, "StartError"
        message = ending.output[-1].removeprefix(_BWRAP)
    elif code == 137 and ending.oom_kills and not ending.killed_by_agent:
        reason = "OOMKilled"
    if not message and code and ending.fall_back_to_logs:
        message = "\n".join(ending.output)[-FALLBACK_BYTES:]
    return Termination(
        code, reason, ending.started_at, ending.finished_at, message, ending.container_id
    )


def _never_started(ending: Ending, seconds: float) -> bool:
    """bubblewrap's own failures: exit code 1 and one line of its own as the only output."""
    return (
        ending.exit_code == 1
        and seconds < START_SECONDS
        and len(ending.output) == 1
        and ending.output[0].startswith(_BWRAP)
    )


def oom_kills() -> int:
    """How many processes the OOM killer has ended on this machine so far."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


def read_termination_message(path: Path) -> str:
    """What the program wrote to its terminationMessagePath, cut as a kubelet cuts it."""
    try:
        return path.read_bytes()[:MESSAGE_BYTES].decode(errors="replace")
    except OSError:
        return ""
