"""How far a prefetch is, as the vLLM worker reports it to the worker through `/collective_rpc`.

A contract of its own: the two are different processes, and only one of them has torch and vLLM.
"""

from enum import StrEnum

from sea_runtime.wire.base import Message


class PrefetchState(StrEnum):
    IDLE = "Idle"
    RUNNING = "Running"
    READY = "Ready"
    """All bytes are in host memory and their checksums match."""
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
