"""Exports committed checkpoints next to training (`checkpoint.exportEverySteps`); on rank 0.

One at a time, from the store and not from the live parameters: training neither waits nor gathers.
What a crash cuts off is made by the next attempt, from the same checkpoint; a stage ends once its
exports have, or have failed. Exports of steps that the run has gone back behind are no longer
marked as complete.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from sea_data import urls
from sea_data.object_store import StoreUnavailableError
from sea_runtime.parallel import hf_config
from sea_runtime.store.folders import upload_folder
from sea_runtime.trainer import background, model_files
from sea_runtime.trainer.checkpoint import export
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest, parse_manifest
from sea_runtime.trainer.checkpoint.reader import CheckpointReader
from sea_runtime.trainer.context import RankContext
from sea_runtime.wire.checkpoints import Entry

log = logging.getLogger(__name__)
Result = TypeVar("Result")


def is_due(step: int, before: int, every: int | None) -> bool:
    """Whether a multiple of `every` is passed from the checkpoint before to this one. Pure."""
    return every is not None and step // every > before // every


def overdue(entries: Sequence[Entry], exported: Collection[int], every: int | None) -> list[Entry]:
    """Checkpoints whose export was cut off, as by a crash, oldest first. Pure.

    Args:
        entries: that `head.json` names.
        exported: steps of the stage's complete exports.
    """
    if every is None:
        return []
    firsts: dict[int, Entry] = {}
    for entry in entries:
        firsts.setdefault(entry.step // every, entry)
    # Not those behind the newest complete one: each was left out with a warning, or its checkpoint
    # was another when it was exported. An export beyond the newest checkpoint is of what a run that
    # went back has left.
    last = max((entry.step for entry in entries), default=0)
    newest = max((step // every for step in exported if step <= last), default=0)
    return [entry for multiple, entry in firsts.items() if multiple > newest]


class Exports:
    """The exports of one stage."""

    def __init__(self, context: RankContext, commits: Commits, initial: Path) -> None:
        self._context, self._commits, self._initial = context, commits, initial
        self.newest = 0
        """Step of the newest checkpoint."""
        self._running: Future[None] | None = None
        self._step = 0
        self.failure = ""
        """Why the last export failed, or waits; empty if it did neither."""
        self._stage_ended: float | None = None
        """Monotonic seconds."""

    @property
    def under_way(self) -> int | None:
        """The step whose checkpoint is being read: retention leaves it."""
        running = self._running is not None and not self._running.done()
        return self._step if running else None

    def resume(self, newest: Manifest, every: int | None) -> None:
        """Begins the exports that an earlier attempt owes, on rank 0.

        Args:
            newest: the checkpoint that this attempt begins with.
        """
        self.newest = newest.step
        if self._context.leads:
            # Should a commit of this attempt delete a checkpoint before the thread has come to it,
            # that is reported as a failed export.
            work = partial(self._catch_up, newest.step, every)
            self._running = background.start("owed exports", work)

    def finish(self) -> None:
        """Waits until no export is under way. Collective.

        Called when the stage has ended: no later attempt would make what is cut off. A store that
        stays away doesn't hold the stage up for ever: the export then counts as failed.
        """
        running, self._stage_ended = self._running, time.monotonic()
        background.rank_barrier(
            self._context, "The periodic export", None if running is None else running.result
        )

    def committed(self, manifest: Manifest, every: int | None) -> None:
        """Begins an export of a checkpoint that has just been committed, if it is due."""
        before, self.newest = self.newest, manifest.step
        if not is_due(manifest.step, before, every):
            return
        if self.under_way is not None:
            log.warning(
                "Step %d isn't exported: the export of step %d is still under way. Raise "
                "checkpoint.exportEverySteps, or use `sea checkpoint export`.",
                manifest.step,
                self._step,
            )
            return
        self._step = manifest.step
        self._running = background.start("periodic export", lambda: self._export(manifest))

    def _catch_up(self, newest: int, every: int | None) -> None:
        """Makes what is owed, and unmarks what a line that was left has exported.

        Args:
            newest: step of the checkpoint that this attempt begins with.
        """
        what = "The look for exports that were cut off"
        try:
            exported = self._patiently(what, self._exported)
            for step in exported:
                # The line that goes on comes to the step again, and writes over the other files.
                if step > newest:
                    ready = urls.join(self._folder(), f"step-{step:06d}", model_files.READY)
                    self._patiently(what, partial(self._commits.store.delete, ready))
                    log.warning("The export of step %d is of weights that the run left.", step)
            head, _ = self._patiently(what, self._commits.read)
            for entry in overdue(head.checkpoints, exported, every):
                # Before its manifest is read: retention leaves it from here on.
                self._step = entry.step
                url = self._commits.url(entry.manifest_key)
                body = self._patiently(what, partial(self._commits.store.get, url))
                self._export(parse_manifest(body, url))
        # Of any type: nobody waits for the thread.
        except Exception as error:
            self._failed(f"The export of step {self._step}" if self._step else what, error)

    def _folder(self) -> str:
        return urls.join(self._commits.folder.rpartition("/")[0], "exports")

    def _exported(self) -> set[int]:
        """Steps with a complete export."""
        found = set()
        for one in self._commits.store.list(urls.folder(self._folder())):
            folder, _, name = one.url.rpartition("/")
            step = folder.rpartition("/step-")[2]
            if name == model_files.READY and step.isdecimal():
                found.add(int(step))
        return found

    def _export(self, manifest: Manifest) -> None:
        name = f"step-{manifest.step:06d}"
        url, folder = urls.join(self._folder(), name), self._context.pod.data_dir / "exports" / name
        what = f"The export of step {manifest.step}"
        try:
            self._patiently(what, lambda: self._write(manifest, folder, url))
            self.failure = ""
            log.info("The weights of step %d are exported to %s.", manifest.step, url)
        # Of any type, also safetensors' own: nobody waits for the thread.
        except Exception as error:
            self._failed(what, error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _patiently(self, what: str, call: Callable[[], Result]) -> Result:
        """The call's result, however long the store is away: its calls back off by themselves.

        Raises:
            StoreUnavailableError: the stage has waited for nothing else for
                `background.MAX_OUTAGE_SECONDS`.
        """
        waited = False
        while True:
            try:
                found = call()
            except StoreUnavailableError as error:
                waited, ended = True, self._stage_ended
                if ended is not None and time.monotonic() - ended > background.MAX_OUTAGE_SECONDS:
                    raise
                self.failure = f"{what} waits for the store: {error}"
                log.warning("%s", self.failure)
            else:
                if waited:  # no export may follow that would clear the failure
                    self.failure = ""
                return found

    def _failed(self, what: str, error: Exception) -> None:
        self.failure = (
            f"{what} failed ({type(error).__name__}): {error} The checkpoints are sound: use `sea "
            "checkpoint export`."
        )
        log.error("%s", self.failure)

    def _write(self, manifest: Manifest, folder: Path, url: str) -> None:
        store, precision = self._commits.store, manifest.precision
        # Of an attempt that broke off.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # While a step is exported again, its folder must not look complete.
        store.delete(urls.join(url, model_files.READY))
        shape = hf_config.load(self._initial)
        reader = CheckpointReader(self._commits, manifest, shape)
        for one in export.write(reader, shape, precision, folder):
            store.upload_file(one.file, urls.join(url, one.file.name))
            one.file.unlink()
        dtype = export.TYPES[precision][0]
        model_files.write(
            self._initial,
            folder,
            dtype,
            export.index(shape, precision),
            strips_thoughts=manifest.strips_thoughts,
        )
        upload_folder(store, folder, url)
        ready = {
            "version": manifest.version,
            "stage": manifest.stage,
            "attempt": manifest.attempt,
        }
        store.put(urls.join(url, model_files.READY), json.dumps(ready).encode())
