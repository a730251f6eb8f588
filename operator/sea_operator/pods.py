"""What the operator keeps of a pod, and of how its containers ended; `pod_parsing.py` makes it."""

from dataclasses import dataclass

from sea_api.redaction import redacted_end
from sea_api.v1alpha1.policy import Role

LAST_LINES = 3
"""Lines of a container's last words that a message holds."""
MAX_LAST_WORDS = 400
"""Characters of them."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container of a pod last ended."""

    container: str
    exit_code: int
    reason: str
    message: str = ""
    restarts: int = 0
    """Restarts of the container since its pod was created."""
    finished: str = ""
    """When it ended, as the kubelet wrote it."""
    previous: bool = False
    """Whether the container has been started again since, or waits to be."""

    @property
    def words(self) -> str:
        """Exit code, reason and last lines, as part of a sentence."""
        code = f"exit code {self.exit_code}" + (f" ({self.reason})" if self.reason else "")
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        words = redacted_end(" | ".join(lines[-LAST_LINES:]), MAX_LAST_WORDS)
        return f"{code}: {words}" if words else code


@dataclass(frozen=True, slots=True)
class Pod:
    """What the policies need of a pod. Times are unix seconds."""

    name: str
    uid: str
    role: Role | None
    template_hash: str | None
    ip: str | None
    ready: bool
    created: float
    node: str | None = None
    owner: str | None = None
    """Uid of the StatefulSet that made it."""
    began: bool = False
    """Whether it ever ran: it is on a node, and the kubelet has started its containers."""
    secrets_digest: str | None = None
    """Digest of the Secrets' values that it was started with; None if unknown."""
    deleted: float | None = None
    """When its grace period ends, if it's being deleted."""
    disrupted: bool = False
    """Evicted, preempted, or taken away with its node."""
    terminations: tuple[Termination, ...] = ()
    waiting: str = ""
    """Why it can't run, in the scheduler's or the kubelet's words; empty while it starts."""
    finalizers: tuple[str, ...] = ()
    """What keeps it after its deletion."""
    ever_ready: bool = False
    """Whether it was ready at some time."""
    images: tuple[tuple[str, str], ...] = ()
    """Container and image, with the digest that its node resolved, of those that run our
    programs."""
    cut_off: bool = False
    """Whether the node controller took its readiness because its kubelet is silent."""

    @property
    def ordinal(self) -> int:
        """Its number within its StatefulSet."""
        number = self.name.rpartition("-")[2]
        return int(number) if number.isdecimal() else 0
