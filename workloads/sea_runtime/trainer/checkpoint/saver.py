"""Runs a checkpoint through its phases next to training: copy, upload, commit.

`start` copies the state (training waits), a thread per rank uploads the copy, and one on rank 0
asks for the ledger's snapshot, so that it is of the copied step; `poll`, called on all ranks
between steps, moves on once every rank has stored and checked its part, so nobody waits for S3.
Only the last phase, on rank 0, makes the checkpoint visible (`commit.py`). One save at a time. A
save that fails leaves training and the head as they were: it is tried again until the next one is
due, which then replaces it.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from pathlib import Path

from sea_api.v1alpha1.policy import Checkpoint
from sea_data import urls
from sea_runtime.client.calls import StaleAttemptError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import (
    MANIFEST,
    SavedLayout,
    index_name,
    state_name,
)
from sea_runtime.trainer.checkpoint.pending_save import (
    PendingSave,
    Position,
    described,
)
from sea_runtime.trainer.checkpoint.periodic_export import Exports
from sea_runtime.trainer.checkpoint.reader import missing
from sea_runtime.trainer.checkpoint.staging import StagedSave, Staging
from sea_runtime.trainer.checkpoint.state import RankState
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.errors import CheckpointError, FencedError
from sea_runtime.trainer.model import Model
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.wire.checkpoints import Entry, StoredObject
from sea_runtime.wire.trainer import CheckpointCommitted, TrainerTask

log = logging.getLogger(__name__)
WAIT_SECONDS = 1.0
_FAILED, _FENCED = -1, -2
"""States of a rank's upload besides under way (0) and done (1)."""


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
        initial: Path,
    ) -> None:
        """Args:
        initial: local folder of the stage's initial model, for exports.
        """
        self.context, self.task, self.policy, self.commits = context, task, policy, commits
        self.exports = Exports(context, commits, initial)
        self._staging = Staging(context.pod.processes)
        self._save: PendingSave | None = None
        self.failed = False
        """The newest save has ended without a commit; of one that failed in its commit only rank 0
        knows."""
        self.away = False
        """The save waits for a store or coordinator that doesn't answer; the same on every rank."""
        self._failure = (0, "")
        """On rank 0: step of the save that failed or waits, and the sentences about it."""

    def follow(self, policy: Checkpoint) -> None:
        """Takes edited settings, for the next checkpoint."""
        self.policy = policy

    @property
    def busy(self) -> bool:
        """A save is under way; the same on every rank."""
        return self._save is not None

    @property
    def failure(self) -> str:
        """On rank 0: why the newest checkpoint isn't committed; empty if nothing is wrong."""
        return self._failure[1]

    def prepare(self, model: Model, optimizer: Optimizer) -> None:
        """Begins to allocate the memory for copies; the first save waits for it."""
        nbytes = RankState(model, optimizer).nbytes
        self._staging.prepare(nbytes, self.policy.max_staging_bytes)

    def replace(self) -> None:
        """Another save is due: the one under way isn't tried again once it fails."""
        if self._save is not None:
            self._save.replaced.set()

    def start(
        self, model: Model, optimizer: Optimizer, position: Position, *, needed: bool = False
    ) -> None:
        """Begins a checkpoint of the state as it is now, after the one before has ended.

        Args:
            needed: waits for store and coordinator however long they are away.
        """
        # One save at a time: `poll` advances a single one, and there is memory for one copy.
        self.finish()
        state = RankState(model, optimizer)
        self._staging.prepare(state.nbytes, self.policy.max_staging_bytes)
        buffer = self._staging.buffer()
        # Training may change the state once this returns, or, without a copy, once it is uploaded.
        staged = StagedSave(state, buffer)
        save = PendingSave(position, SavedLayout.of(model.layout), needed)
        save.uploading = background.start("checkpoint", lambda: self._upload(save, staged))
        self._save, self.failed = save, False
        # All ranks decide together: one that waits alone would miss the others' collectives.
        if self.context.control.min(float(buffer is not None)) < 1.0:
            # Training waits for all ranks, those with a copy too: an outage of the store must not
            # hold it up.
            save.replaced.set()
            self._wait_for_uploads(save)

    def _wait_for_uploads(self, save: PendingSave) -> None:
        done = False
        while not done:
            self.context.status.alive()
            mine = background.finished(save.uploading, WAIT_SECONDS)
            found = self.context.control.all_gather((mine, save.failure))
            done = all(ended for ended, _ in found)
            # A needed save waits for a store that is away however long: not in silence.
            self._note_failure(save, _of_ranks(text for _, text in found))

    def _upload(self, save: PendingSave, staged: StagedSave) -> list[StoredObject]:
        """Stores this rank's objects, and on rank 0 first the ledger's. In a thread."""
        stored = []
        if self.context.leads:
            # Now, not when everything is stored: the ledger of this step belongs to its state.
            step, attempt = save.position.step, self.context.attempt
            taken = save.persist(
                lambda: self.context.client.watched(save.gives_up).snapshot(
                    self.task.stage, step, attempt
                )
            )
            stored.append(
                StoredObject(key=taken.key, name="", size=taken.size, sha256=taken.sha256)
            )
        rank, url = self.context.assignment.rank, self.commits.step_folder(save.position.step)
        data, described = urls.join(url, state_name(rank)), urls.join(url, index_name(rank))
        index = save.persist(lambda: staged.upload(self._store(save), data))
        body = index.model_dump_json().encode()
        save.persist(lambda: self._store(save).put(described, body))
        return [
            *stored,
            self._stored(data, index.nbytes, ""),
            self._stored(described, len(body), sha256(body).hexdigest()),
        ]

    def _store(self, save: PendingSave) -> ObjectStore:
        """The store, whose calls end early if the save is replaced while it is away."""
        return self.context.store.watched(save.gives_up)

    def _stored(self, url: str, size: int, digest: str) -> StoredObject:
        name = url.rpartition("/")[2]
        return StoredObject(key=self.commits.key(url), name=name, size=size, sha256=digest)

    def committed(self, step: int) -> bool:
        """True if this attempt has committed `step`; reports it to the coordinator once more.

        Such a step must not be saved again: the committed manifest names its objects' checksums.
        """
        manifest = self.commits.key(urls.join(self.commits.step_folder(step), MANIFEST))
        return self._reported_again(lambda one: one.manifest_key == manifest)

    def report_resumed(self, step: int) -> None:
        """Reports the checkpoint of `step`, of an earlier attempt, to the coordinator once more.

        That attempt may have been killed between the head and its report. Only where this one
        commits nothing after it, which would tell as much.
        """
        self._reported_again(lambda one: one.step == step)

    def _reported_again(self, meant: Callable[[Entry], bool]) -> bool:
        """Collective; false if the head names no such checkpoint."""
        look = partial(self._report_again, meant) if self.context.leads else None
        found = background.rank_barrier(self.context, "The last checkpoint", look)
        return bool(self.context.control.broadcast(found))

    def _report_again(self, meant: Callable[[Entry], bool]) -> bool:
        head, _ = self.commits.read()
        named = [one for one in head.checkpoints if meant(one)]
        if named:
            self._report(named[-1])
        return bool(named)

    def finish(self) -> None:
        """Waits until no save is under way."""
        while self._save is not None:
            self.context.status.alive()
            self.replace()
            # Waits without a collective, then polls: all ranks poll equally often, since they drop
            # a save in the same poll.
            background.finished(self._save.committing or self._save.uploading, WAIT_SECONDS)
            self.poll()

    def poll(self) -> None:
        """Moves a save to its next phase if all ranks are ready.

        Raises:
            FencedError: a newer attempt commits.
        """
        save = self._save
        if save is None:
            return
        if not save.uploaded:
            self._after_upload(save)
        else:
            self._after_commit(save)

    def _after_upload(self, save: PendingSave) -> None:
        error = background.error_of(save.uploading)
        fenced = isinstance(error, StaleAttemptError)
        if error is not None and not fenced:
            save.failure = described(error)
            self._log_failure("upload", save, error)
        # All ranks decide by the same list, so that they drop the save or go on with it together.
        own = (_FENCED if fenced else _FAILED) if error else int(save.uploading.done())
        found = self.context.control.all_gather((own, save.failure, save.away))
        states = [state for state, _, _ in found]
        self.away = any(away for _, _, away in found)
        # Of every rank: the others' are in their logs only.
        self._note_failure(save, _of_ranks(text for _, text, _ in found))
        # Dropped only when no rank uploads any more: its copy is overwritten by the next save.
        if min(states) < 0 and 0 not in states:
            self._save, self.failed, self.away = None, True, False
            if _FENCED in states:
                raise FencedError("A newer attempt of the trainer has begun: this one must stop.")
        if min(states) < 1:
            return
        save.uploaded = True
        # Before the thread starts: collectives belong to the training thread.
        objects = self.context.control.gather(save.uploading.result())
        if self.context.leads:
            flat = [one for part in objects for one in part]
            save.committing = background.start("commit", lambda: self._commit(save, flat))

    def _note_failure(self, save: PendingSave, ranks: list[str]) -> None:
        step = save.position.step
        if ranks:
            more = f" and {len(ranks) - 3} more ranks" if len(ranks) > 3 else ""
            text = (
                f"The checkpoint of step {step} isn't committed ({'; '.join(ranks[:3])}{more}). "
                f"Training goes on; a failure now goes back to step {self.exports.newest}."
            )
            self._failure = (step, text)
        # What an earlier save failed with stands until a checkpoint is committed.
        elif self._failure[0] == step:
            self._failure = (0, "")

    def _log_failure(self, what: str, save: PendingSave, error: BaseException) -> None:
        log.error(
            "The %s of the checkpoint of step %d failed (%s): %s The next one tries again.",
            what,
            save.position.step,
            type(error).__name__,
            error,
        )

    def _commit(self, save: PendingSave, stored: list[StoredObject]) -> None:
        """Rank 0, in a thread: the manifest, then the head.

        In this order: what an object names exists before it, and the head makes all of it visible.
        """
        url = self.commits.step_folder(save.position.step)
        ledger = next(one for one in stored if not one.name)
        objects = [one for one in stored if one.name]
        manifest = save.manifest(self.context, self.task, objects, ledger)
        target, text = urls.join(url, MANIFEST), manifest.model_dump_json(indent=1)
        save.persist(lambda: self._store(save).put(target, text.encode()))
        self._require_stored(save, [*stored, self._stored(target, len(text.encode()), "")])
        entry = Entry(
            step=manifest.step,
            version=manifest.version,
            manifest_key=self.commits.key(target),
            bytes=manifest.bytes,
            time=manifest.time,
        )
        keep = self.policy.keep_last, self.policy.keep_every, self.exports.under_way
        # A kill between this commit and the report: `committed` or the coordinator's recovery
        # reports it.
        save.persist(lambda: self.commits.watched(save.gives_up).commit(entry, *keep))
        save.persist(lambda: self._report(entry))
        self.exports.committed(manifest, self.policy.export_every_steps)

    def _require_stored(self, save: PendingSave, stored: list[StoredObject]) -> None:
        """A store that reports success for what it doesn't keep must not cost the one before.

        Raises:
            CheckpointError: an object is missing or has another size.
        """
        wrong = save.persist(lambda: missing(self.commits.watched(save.gives_up), stored))
        if wrong:
            raise CheckpointError(f"{wrong[0]} The store had reported success.")

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

    def _after_commit(self, save: PendingSave) -> None:
        outcome: str | None = ""
        if save.committing is not None:
            outcome = self._outcome(save, save.committing)
        # Only rank 0 knows; the others have no `committing`.
        outcome, self.away = self.context.control.broadcast((outcome, save.away))
        if outcome == "":
            return
        self._save, self.away = None, False
        if outcome is not None:
            # On every rank, after the drop: none is left behind in a collective.
            raise FencedError(outcome)

    def _outcome(self, save: PendingSave, committing: Future[None]) -> str | None:
        """Empty while under way, None when it has ended, a sentence if a newer attempt commits."""
        if not committing.done():
            self._note_failure(save, [f"rank 0: {save.failure}"] if save.failure else [])
            return ""
        error = committing.exception()
        if isinstance(error, FencedError | StaleAttemptError):
            return str(error) or "A newer attempt commits."
        if error is not None:
            self.failed = True
            self._note_failure(save, [f"rank 0: {described(error)}"])
            self._log_failure("commit", save, error)
        else:
            self._failure = (0, "")
        return None


def _of_ranks(failures: Iterable[str]) -> list[str]:
    return [f"rank {rank}: {text}" for rank, text in enumerate(failures) if text]
