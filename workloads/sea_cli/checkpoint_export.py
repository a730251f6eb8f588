"""`sea checkpoint export`: a checkpoint's weights as a Hugging Face folder, on a disk or in S3."""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from sea_cli import fetching, progress
from sea_cli.checkpoint_lookup import CheckpointCommandError, chosen, manifest_of
from sea_cli.common import say
from sea_data import urls
from sea_data.formats import data_files
from sea_data.models import exported
from sea_runtime.store.folders import upload_folder
from sea_runtime.store.s3 import ObjectStore


def run(given: argparse.Namespace) -> int:
    """Needs memory for one file of weights (2 GiB), and the disk for it where `--out` is S3."""
    # Not at the top: numpy, for one command of many.
    from sea_runtime.parallel import hf_config
    from sea_runtime.trainer import model_files
    from sea_runtime.trainer.checkpoint import export
    from sea_runtime.trainer.checkpoint.reader import CheckpointReader

    commits, entry = chosen(given)
    manifest = manifest_of(commits, entry)
    remote = data_files.is_remote(given.out)
    _require_empty(given.out, remote)
    with (
        fetching.folder(manifest.initial_model, exported.is_copied) as initial,
        TemporaryDirectory(prefix="sea-export-") as temporary,
    ):
        shape = hf_config.load(initial)
        folder = Path(temporary) if remote else Path(given.out)
        folder.mkdir(parents=True, exist_ok=True)
        reader = CheckpointReader(commits, manifest, shape)
        dtype = export.TYPES[manifest.precision][0]
        count = len(export.files(shape, manifest.precision))
        with progress.bar(f"{given.stage} step {entry.step}", count) as advance:
            for one in export.write(reader, shape, manifest.precision, folder):
                if remote:
                    commits.store.upload_file(one.file, urls.join(given.out, one.file.name))
                    one.file.unlink()
                advance(one.file.name)
        model_files.write(
            initial,
            folder,
            dtype,
            export.index(shape, manifest.precision),
            strips_thoughts=manifest.strips_thoughts,
        )
        ready = {"version": entry.version, "stage": given.stage, "attempt": manifest.attempt}
        if remote:
            upload_folder(commits.store, folder, given.out)
            commits.store.put(urls.join(given.out, model_files.READY), json.dumps(ready).encode())
        else:
            (folder / model_files.READY).write_text(json.dumps(ready))
    say(f"The model of step {entry.step} (version {entry.version}) is in {given.out}.")
    return 0


def _require_empty(out: str, remote: bool) -> None:
    """Two models in one folder would look like one."""
    if remote:
        found = any(True for _ in ObjectStore(retry_timeout=20.0).list(urls.folder(out)))
    else:
        found = Path(out).exists() and any(Path(out).iterdir())
    if found:
        raise CheckpointCommandError(f"{out} isn't empty: choose a new folder, or empty this one.")
