"""`manifest.json` of one checkpoint: every object with size and SHA-256, and the progress."""

from sea_runtime.wire.base import Message


class StoredObject(Message):
    key: str
    """Key in the bucket of the run."""
    name: str
    """File name within the checkpoint; empty for objects that Megatron doesn't load."""
    size: int
    sha256: str


class Manifest(Message):
    stage: str
    step: int
    attempt: int
    stream: str
    version: int
    """Weight version of the saved parameters."""
    world_size: int
    """Number of ranks that saved it."""
    expert: int
    """Their expert-parallel size."""
    finished: bool
    """The stage ended with this step (validation stop or last step)."""
    objects: list[StoredObject]
    ledger: StoredObject | None
    time: float

    @property
    def bytes(self) -> int:
        return sum(one.size for one in [*self.objects, *([self.ledger] if self.ledger else [])])
