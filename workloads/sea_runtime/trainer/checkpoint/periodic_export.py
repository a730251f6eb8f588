"""Exports committed checkpoints next to training (`checkpoint.exportEverySteps`); on rank 0.

One at a time, from the store and not from the live parameters: training neither waits nor gathers.
"""

import json
import logging
import shutil
from concurrent.futures import Future
from pathlib import Path

from sea_data import urls
from sea_runtime.parallel import hf_config
from sea_runtime.store.folders import upload_folder
from sea_runtime.trainer import background, model_files
from sea_runtime.trainer.checkpoint import export
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest
from sea_runtime.trainer.checkpoint.reader import CheckpointReader
from sea_runtime.trainer.context import RankContext

log = logging.getLogger(__name__)


def is_due(step: int, before: int, every: int | None) -> bool:
    """Whether a multiple of `every` is passed from the checkpoint before to this one. Pure."""
    return every is not None and step // every > before // every


class Exports:
    """The exports of one stage."""

    def __init__(self, context: RankContext, commits: Commits, initial: Path) -> None:
        self._context, self._commits, self._initial = context, commits, initial
        self.newest = 0
        """Step of the newest checkpoint."""
        self._running: Future[None] | None = None
        self._step = 0

    @property
    def under_way(self) -> int | None:
        """The step whose checkpoint is being read: retention leaves it."""
        running = self._running is not None and not self._running.done()
        return self._step if running else None

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

    def _export(self, manifest: Manifest) -> None:
        name = f"step-{manifest.step:06d}"
        url = urls.join(self._commits.run_url, "stages", manifest.stage, "exports", name)
        folder = self._context.pod.data_dir / "exports" / name
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._write(manifest, folder, url)
            log.info("The weights of step %d are exported to %s.", manifest.step, url)
        # Of any type, also safetensors' own: nobody waits for the thread, so only the log shows it.
        except Exception as error:
            log.error(
                "The export of step %d failed (%s): %s The checkpoint is sound: use `sea "
                "checkpoint export`.",
                manifest.step,
                type(error).__name__,
                error,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, manifest: Manifest, folder: Path, url: str) -> None:
        store, precision = self._commits.store, manifest.precision
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
