"""When a container that ended is started again: a kubelet's CrashLoopBackOff as a pure function."""

from dataclasses import dataclass


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
