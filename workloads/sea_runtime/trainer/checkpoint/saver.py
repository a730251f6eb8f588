"""Runs a checkpoint through its phases beside training: stage, write and upload, commit.

`start` copies the state (foreground), threads write and upload it; `poll`, called on all ranks
between steps, moves on once every rank has finished a phase, so nobody waits for S3. Only the last
phase, on rank 0, makes the checkpoint visible (`commit.py`). A save that fails leaves training
alone and the head as it was; the next one tries again.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sea_api.v1alpha1.policy import Checkpoint
from sea_data import urls
from sea_data.object_store import StoreUnavailableError
from sea_runtime.client.calls import CoordinatorUnreachableError, StaleAttemptError
from sea_runtime.store.folders import sha256_of
from sea_runtime.trainer.background import Background
from sea_runtime.trainer.checkpoint.abandoned import MANIFEST
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Entry, Head
from sea_runtime.trainer.checkpoint.manifest import Manifest, StoredObject
from sea_runtime.trainer.checkpoint.writer import StagedSave, Writer
from sea_runtime.trainer.errors import FencedError
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.together import together
from sea_runtime.wire.trainer import CheckpointCommitted, TrainerTask

log = logging.getLogger(__name__)
Result = TypeVar("Result")
WAIT_S = 1.0
PARALLEL_UPLOADS = 8


@dataclass(frozen=True)
class Position:
    """Where the stage stands when its state is saved."""

    step: int
    version: int
    finished: bool = False


@dataclass
class _Save:
    position: Position
    staged: StagedSave
    folder: Path
    needed: bool
    """No later save can take its place."""
    writing: Background[list[StoredObject]]
    committing: Background[None] | None = None
    """Rank 0, once all ranks have written."""
    written: bool = False


def _done(needed: bool, call: Callable[[], Result]) -> Result:
    """The call's result; where it is needed, once store and coordinator are back.

    Step by step, so that nothing of a checkpoint that is already committed is written again. Each
    attempt has a patience of its own: this loop does not spin.
    """
    while True:
        try:
            return call()
        except (StoreUnavailableError, CoordinatorUnreachableError) as error:
            if not needed:
                raise
            log.warning("The last checkpoint waits: %s", error)


class Saver:
    """Checkpoints of one stage; every method is called on every rank in the same order."""

    def __init__(
        self, job: Job, task: TrainerTask, policy: Checkpoint, commits: Commits, expert: int
    ) -> None:
        self.job, self.task, self.policy, self.commits = job, task, policy, commits
        self.expert = expert
        self._writer = Writer(policy.max_staging_bytes)
        self._save: _Save | None = None

    @property
    def _staging(self) -> Path:
        name = f"{self.task.stage}-rank-{self.job.world.rank}"
        return self.job.pod.data_dir / "checkpoints" / name

    def start(
        self, model: Model, optimizer: Optimizer, position: Position, *, needed: bool = False
    ) -> None:
        """Begins a checkpoint of the state as it is now; waits for one that is still under way.

        One that is `needed` waits for store and coordinator however long they are away.
        """
        self.finish()
        folder = self._staging / f"step-{position.step:06d}"
        staged = self._writer.stage(model, optimizer, folder)
        url = self.commits.step_folder(position.step)

        def work() -> list[StoredObject]:
            staged.write()
            return self._upload(folder.glob("__*"), url, needed)

        self._save = _Save(position, staged, folder, needed, Background("checkpoint", work))

    def _upload(self, files: Iterable[Path], url: str, needed: bool) -> list[StoredObject]:
        def one(file: Path) -> StoredObject:
            target = urls.join(url, file.name)
            _done(needed, lambda: self.job.store.upload_file(file, target))
            return StoredObject(
                key=self.commits.key(target),
                name=file.name,
                size=file.stat().st_size,
                sha256=sha256_of(file),
            )

        with ThreadPoolExecutor(PARALLEL_UPLOADS, thread_name_prefix="upload") as pool:
            return list(pool.map(one, sorted(files)))

    def committed(self, step: int) -> bool:
        """Whether this attempt has committed `step`; tells the coordinator of it once more.

        Its objects must not be written again: a manifest that is committed names their checksums.
        """
        look = (lambda: self._told(step)) if self.job.leads else None
        return bool(self.job.control.broadcast(together(self.job, "head.json", look)))

    def _told(self, step: int) -> bool:
        head, _ = _done(True, self.commits.read)
        manifest = self.commits.key(urls.join(self.commits.step_folder(step), MANIFEST))
        named = [one for one in head.checkpoints if one.manifest_key == manifest]
        if named:
            _done(True, lambda: self._tell(named[0], head))
        return bool(named)

    def finish(self) -> None:
        """Waits until nothing is under way."""
        while self._save is not None:
            self.job.report.alive()
            (self._save.committing or self._save.writing).wait(WAIT_S)
            self.poll()

    def poll(self) -> None:
        """Moves a save on where all ranks are ready; FencedError if a newer attempt commits."""
        save = self._save
        if save is None:
            return
        if not save.written:
            self._after_writing(save)
        else:
            self._after_commit(save)

    def _after_writing(self, save: _Save) -> None:
        error = save.writing.error
        states = self.job.control.all(-1 if error else int(save.writing.done))
        if error is not None:
            log.error("Checkpoint of step %d failed: %s", save.position.step, error)
        if min(states) < 0 and 0 not in states:
            self._drop(save)
        if min(states) < 1:
            return
        save.staged.finalize()
        save.written = True
        objects = self.job.control.gather(save.writing.result())
        if self.job.leads:
            flat = [one for part in objects for one in part]
            save.committing = Background("commit", lambda: self._commit(save, flat))

    def _commit(self, save: _Save, shards: list[StoredObject]) -> None:
        """Rank 0, in a thread: metadata, ledger, manifest, then the head."""
        step, url = save.position.step, self.commits.step_folder(save.position.step)
        rest = [file for file in save.folder.iterdir() if not file.name.startswith("__")]
        objects = shards + self._upload(rest, url, save.needed)
        stage, attempt = self.task.stage, self.job.attempt
        taken = _done(save.needed, lambda: self.job.client.snapshot(stage, step, attempt))
        ledger = StoredObject(key=taken.key, name="", size=taken.size, sha256=taken.sha256)
        manifest = self._manifest(save.position, objects, ledger)
        target, text = urls.join(url, MANIFEST), manifest.model_dump_json(indent=1)
        _done(save.needed, lambda: self.job.store.put(target, text.encode()))
        entry = Entry(
            step=step,
            version=manifest.version,
            manifest_key=self.commits.key(target),
            bytes=manifest.bytes,
            time=manifest.time,
        )
        keep = self.policy.keep_last, self.policy.keep_every
        head = _done(save.needed, lambda: self.commits.commit(entry, *keep))
        _done(save.needed, lambda: self._tell(entry, head))

    def _manifest(
        self, position: Position, objects: list[StoredObject], ledger: StoredObject
    ) -> Manifest:
        return Manifest(
            stage=self.task.stage,
            step=position.step,
            attempt=self.job.attempt,
            stream=self.task.stream,
            version=position.version,
            world=self.job.world.size,
            expert=self.expert,
            finished=position.finished,
            objects=objects,
            ledger=ledger,
            time=time.time(),
        )

    def _tell(self, entry: Entry, head: Head) -> None:
        self.job.client.committed(
            self.task.stage,
            CheckpointCommitted(
                attempt=self.job.attempt,
                step=entry.step,
                version=entry.version,
                bytes=entry.bytes,
                manifest_key=entry.manifest_key,
                keep_steps=[one.step for one in head.checkpoints],
            ),
        )

    def _after_commit(self, save: _Save) -> None:
        state: str | None = ""
        if save.committing is not None:
            state = self._outcome(save, save.committing)
        state = self.job.control.broadcast(state)
        if state == "":
            return
        self._drop(save)
        if state is not None:
            raise FencedError(state)

    def _outcome(self, save: _Save, committing: Background[None]) -> str | None:
        """Empty while under way, None when over, a sentence where a newer attempt commits."""
        if not committing.done:
            return ""
        error = committing.error
        if isinstance(error, FencedError | StaleAttemptError):
            return str(error) or "A newer attempt commits."
        if error is not None:
            log.error("Commit of step %d failed: %s", save.position.step, error)
        return None

    def _drop(self, save: _Save) -> None:
        shutil.rmtree(save.folder, ignore_errors=True)
        self._save = None
