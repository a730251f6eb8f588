"""Runs a checkpoint through its phases next to training: stage, write and upload, commit.

`start` copies the state (training waits), threads write and upload it; `poll`, called on all ranks
between steps, moves on once every rank has finished a phase, so nobody waits for S3. Only the last
phase, on rank 0, makes the checkpoint visible (`commit.py`). A save that fails leaves training and
the head as they were; the next one tries again.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sea_api.v1alpha1.policy import Checkpoint
from sea_data import urls
from sea_data.object_store import StoreUnavailableError
from sea_runtime.client.calls import CoordinatorUnreachableError, StaleAttemptError
from sea_runtime.store.folders import sha256_of
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import MANIFEST, Entry, Manifest, StoredObject
from sea_runtime.trainer.checkpoint.state import StagedSave, Writer
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.errors import FencedError
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.wire.trainer import CheckpointCommitted, TrainerTask

log = logging.getLogger(__name__)
Result = TypeVar("Result")
WAIT_SECONDS = 1.0
PARALLEL_UPLOADS = 8


@dataclass(frozen=True)
class Position:
    """How far the stage is when its state is saved."""

    step: int
    version: int
    finished: bool = False


@dataclass
class _Save:
    """The save that is under way."""

    position: Position
    staged: StagedSave
    folder: Path
    needed: bool
    """No later save can replace it."""
    writing: Future[list[StoredObject]]
    committing: Future[None] | None = None
    """On rank 0, once all ranks have written."""
    written: bool = False


def _persist(needed: bool, call: Callable[[], Result]) -> Result:
    """The call's result; if it is needed, retried until store and coordinator are back.

    Each phase is retried by itself, so that no object of a checkpoint that is already committed is
    written again. The calls back off by themselves: this loop does not spin.
    """
    while True:
        try:
            return call()
        except (StoreUnavailableError, CoordinatorUnreachableError) as error:
            if not needed:
                raise
            log.warning("The last checkpoint waits: %s", error)


class Saver:
    """Checkpoints of one stage.

    Every method is called on every rank in the same order: they all contain collectives.
    """

    def __init__(
        self,
        context: RankContext,
        task: TrainerTask,
        policy: Checkpoint,
        commits: Commits,
    ) -> None:
        self.context, self.task, self.policy, self.commits = context, task, policy, commits
        self._writer = Writer(policy.max_staging_bytes)
        self._save: _Save | None = None

    def follow(self, policy: Checkpoint) -> None:
        """Takes edited settings, for the next checkpoint."""
        self.policy = policy
        self._writer.staging_limit = policy.max_staging_bytes

    @property
    def _staging(self) -> Path:
        name = f"{self.task.stage}-rank-{self.context.assignment.rank}"
        return self.context.pod.data_dir / "checkpoints" / name

    def start(
        self, model: Model, optimizer: Optimizer, position: Position, *, needed: bool = False
    ) -> None:
        """Begins a checkpoint of the state as it is now, after the one before has ended.

        Args:
            needed: waits for store and coordinator however long they are away.
        """
        # One save at a time: `poll` advances a single one.
        self.finish()
        folder = self._staging / f"step-{position.step:06d}"
        # Training may change the parameters once this returns: the state is copied, or written
        # already.
        staged = self._writer.stage(model, optimizer, folder)
        url = self.commits.step_folder(position.step)

        def work() -> list[StoredObject]:
            staged.write()
            return self._upload(folder.glob("__*"), url, needed)

        writing = background.start("checkpoint", work)
        self._save = _Save(position, staged, folder, needed, writing)

    def _upload(self, files: Iterable[Path], url: str, needed: bool) -> list[StoredObject]:
        def one(file: Path) -> StoredObject:
            target = urls.join(url, file.name)
            _persist(needed, lambda: self.context.store.upload_file(file, target))
            return StoredObject(
                key=self.commits.key(target),
                name=file.name,
                size=file.stat().st_size,
                sha256=sha256_of(file),
            )

        with ThreadPoolExecutor(PARALLEL_UPLOADS, thread_name_prefix="upload") as pool:
            return list(pool.map(one, sorted(files)))

    def committed(self, step: int) -> bool:
        """True if this attempt has committed `step`; reports it to the coordinator once more.

        Such a step must not be saved again: the committed manifest names its objects' checksums.
        """
        look = (lambda: self._report_again(step)) if self.context.leads else None
        found = background.rank_barrier(self.context, "head.json", look)
        return bool(self.context.control.broadcast(found))

    def _report_again(self, step: int) -> bool:
        head, _ = _persist(True, self.commits.read)
        manifest = self.commits.key(urls.join(self.commits.step_folder(step), MANIFEST))
        named = [one for one in head.checkpoints if one.manifest_key == manifest]
        if named:
            _persist(True, lambda: self._report(named[0]))
        return bool(named)

    def finish(self) -> None:
        """Waits until no save is under way."""
        while self._save is not None:
            self.context.status.alive()
            # Waits without a collective, then polls: all ranks poll equally often, since they drop
            # a save in the same poll.
            background.finished(self._save.committing or self._save.writing, WAIT_SECONDS)
            self.poll()

    def poll(self) -> None:
        """Moves a save to its next phase if all ranks are ready.

        Raises:
            FencedError: a newer attempt commits.
        """
        save = self._save
        if save is None:
            return
        if not save.written:
            self._after_writing(save)
        else:
            self._after_commit(save)

    def _after_writing(self, save: _Save) -> None:
        error = background.error_of(save.writing)
        # All ranks decide by the same list, so that they drop the save or go on with it together.
        states = self.context.control.all_gather(-1 if error else int(save.writing.done()))
        if error is not None:
            log.error("Checkpoint of step %d failed: %s", save.position.step, error)
        # Dropped only when no rank still writes: the folder is removed under it otherwise.
        if min(states) < 0 and 0 not in states:
            self._drop(save)
        if min(states) < 1:
            return
        # After every rank has written: the metadata names all shards.
        save.staged.finalize()
        save.written = True
        # Before the thread starts: collectives belong to the training thread.
        objects = self.context.control.gather(save.writing.result())
        if self.context.leads:
            flat = [one for part in objects for one in part]
            save.committing = background.start("commit", lambda: self._commit(save, flat))

    def _commit(self, save: _Save, shards: list[StoredObject]) -> None:
        """Rank 0, in a thread: metadata, ledger, manifest, then the head.

        In this order: what an object names exists before it, and the head makes all of it visible.
        """
        step, url = save.position.step, self.commits.step_folder(save.position.step)
        rest = [file for file in save.folder.iterdir() if not file.name.startswith("__")]
        objects = shards + self._upload(rest, url, save.needed)
        stage, attempt = self.task.stage, self.context.attempt
        # The coordinator's ledger at this step: a resumed stage continues with both or neither.
        taken = _persist(save.needed, lambda: self.context.client.snapshot(stage, step, attempt))
        ledger = StoredObject(key=taken.key, name="", size=taken.size, sha256=taken.sha256)
        manifest = self._manifest(save.position, objects, ledger)
        target, text = urls.join(url, MANIFEST), manifest.model_dump_json(indent=1)
        _persist(save.needed, lambda: self.context.store.put(target, text.encode()))
        entry = Entry(
            step=step,
            version=manifest.version,
            manifest_key=self.commits.key(target),
            bytes=manifest.bytes,
            time=manifest.time,
        )
        keep = self.policy.keep_last, self.policy.keep_every
        # A kill between this commit and the report: `committed` or the coordinator's recovery
        # reports it.
        _persist(save.needed, lambda: self.commits.commit(entry, *keep))
        _persist(save.needed, lambda: self._report(entry))

    def _manifest(
        self, position: Position, objects: list[StoredObject], ledger: StoredObject
    ) -> Manifest:
        return Manifest(
            stage=self.task.stage,
            step=position.step,
            attempt=self.context.attempt,
            stream=self.task.stream,
            version=position.version,
            world_size=self.context.assignment.world_size,
            finished=position.finished,
            objects=objects,
            ledger=ledger,
            time=time.time(),
        )

    def _report(self, entry: Entry) -> None:
        self.context.client.committed(
            self.task.stage,
            CheckpointCommitted(
                attempt=self.context.attempt,
                step=entry.step,
                version=entry.version,
                bytes=entry.bytes,
                manifest_key=entry.manifest_key,
            ),
        )

    def _after_commit(self, save: _Save) -> None:
        outcome: str | None = ""
        if save.committing is not None:
            outcome = self._outcome(save, save.committing)
        # Only rank 0 knows; the others have no `committing`.
        outcome = self.context.control.broadcast(outcome)
        if outcome == "":
            return
        self._drop(save)
        if outcome is not None:
            # On every rank, after the drop: none is left behind in a collective.
            raise FencedError(outcome)

    def _outcome(self, save: _Save, committing: Future[None]) -> str | None:
        """Empty while under way, None when it has ended, a sentence if a newer attempt commits."""
        if not committing.done():
            return ""
        error = committing.exception()
        if isinstance(error, FencedError | StaleAttemptError):
            return str(error) or "A newer attempt commits."
        if error is not None:
            log.error("Commit of step %d failed: %s", save.position.step, error)
        return None

    def _drop(self, save: _Save) -> None:
        shutil.rmtree(save.folder, ignore_errors=True)
        self._save = None
