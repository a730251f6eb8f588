"""How far a prefetch is, as the vLLM worker tells the updater through `/collective_rpc`."""

from enum import StrEnum

from sea_runtime.wire.base import Message


class PrefetchState(StrEnum):
    IDLE = "Idle"
    RUNNING = "Running"
    READY = "Ready"
    """All bytes are in host memory and their checksums are right."""
    FAILED = "Failed"


class PrefetchStatus(Message):
    state: PrefetchState = PrefetchState.IDLE
    version: int = -1
    attempt: int = -1
    transport: str = ""
    """NIXL or ObjectStore, once READY."""
    seconds: float = 0.0
    error: str = ""
    """A sentence, with FAILED."""
