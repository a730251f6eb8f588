"""One save between the copy of the state and its commit, and what is waited out meanwhile.

`saver.py` owns it and moves it on.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

from sea_data.object_store import StoreUnavailableError
from sea_runtime.client.calls import CoordinatorUnreachableError
from sea_runtime.trainer import model_files
from sea_runtime.trainer.checkpoint.head import Manifest, SavedLayout
from sea_runtime.trainer.context import RankContext
from sea_runtime.wire.checkpoints import FORMAT, StoredObject
from sea_runtime.wire.trainer import TrainerTask

log = logging.getLogger(__name__)
Result = TypeVar("Result")
HICCUP_SECONDS = 8.0
"""How long a row of failures may last before a save that another one replaces is given up: one
answer of a busy store, such as SlowDown, must not discard a finished upload."""
ROW_SECONDS = 60.0
"""After which the next failure begins another row: longer than a request and its back-off."""
MAX_CAUSE = 200
"""Characters that are reported of a rank's error; its log has all of it."""


@dataclass(frozen=True)
class Position:
    """How far the stage is when its state is saved."""

    step: int
    version: int
    finished: bool = False


@dataclass
class PendingSave:
    """The save that is under way."""

    position: Position
    layout: SavedLayout
    needed: bool
    """No later save can replace it."""
    replaced: Event = field(default_factory=Event)
    """A later one waits: a store that is away is not waited for any longer."""
    uploading: Future[list[StoredObject]] = field(default_factory=Future)
    """Uploads of this rank's objects; on rank 0 the ledger's is the first."""
    committing: Future[None] | None = None
    """On rank 0, once all ranks have stored their objects."""
    uploaded: bool = False
    failure: str = ""
    """What this rank's last call failed with; empty once it has succeeded."""
    away: bool = False
    """Store or coordinator don't answer this rank's call, which is being repeated."""
    clock: Callable[[], float] = time.monotonic
    _row: tuple[float, float] | None = None
    """When the first and the last of the failures in a row were."""

    def gives_up(self) -> bool:
        """Asked after each failure of a call that may pass: whether it isn't repeated any more."""
        self.away, now = True, self.clock()
        goes_on = self._row is not None and now - self._row[1] < ROW_SECONDS
        first = self._row[0] if self._row is not None and goes_on else now
        self._row = first, now
        return self.replaced.is_set() and not self.needed and now - first >= HICCUP_SECONDS

    def persist(self, call: Callable[[], Result]) -> Result:
        """The call's result, retried until store and coordinator are back.

        Each phase is retried by itself, so that no object of a checkpoint that is already committed
        is written again. The calls back off by themselves: this loop does not spin.

        Raises:
            StoreUnavailableError, CoordinatorUnreachableError: a later save replaces this one.
        """
        while True:
            try:
                result = call()
            except (StoreUnavailableError, CoordinatorUnreachableError) as error:
                self.failure = described(error)
                if self.gives_up():
                    raise
                log.warning(
                    "The checkpoint of step %d waits (%s): %s",
                    self.position.step,
                    type(error).__name__,
                    error,
                )
            else:
                self.failure, self.away, self._row = "", False, None
                return result

    def manifest(
        self,
        context: RankContext,
        task: TrainerTask,
        objects: list[StoredObject],
        ledger: StoredObject,
    ) -> Manifest:
        """The manifest of what all ranks have stored, with the ledger's snapshot."""
        assert task.spec is not None
        return Manifest(
            format=FORMAT,
            stage=task.stage,
            step=self.position.step,
            attempt=context.attempt,
            stream=task.stream,
            version=self.position.version,
            world_size=context.assignment.world_size,
            layout=self.layout,
            initial_model=task.initial_model,
            precision=task.spec.model.precision.value,
            strips_thoughts=model_files.strips_thoughts(task),
            finished=self.position.finished,
            objects=objects,
            ledger=ledger,
            time=time.time(),
        )


def described(error: BaseException) -> str:
    """An error as it is reported next to others."""
    return f"{type(error).__name__}: {error}"[:MAX_CAUSE]
