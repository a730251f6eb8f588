"""The base model of each weight stream, prepared in the object store before anything loads it."""

import json
import logging
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_data import urls
from sea_data.errors import RowError
from sea_data.formats.jsonl import objects
from sea_data.object_store import PreconditionFailedError
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.data_check import lines
from sea_runtime.coordinator.errors import ModelUnavailableError, PreconditionError
from sea_runtime.store.folders import upload_folder
from sea_runtime.store.s3 import ObjectStore

log = logging.getLogger(__name__)

READY = "READY.json"
TINY = "builtin:tiny"
HUB = "hf://"
MAX_ROWS = 20000
"""Rows of one file that the tokenizer is fitted to: enough for about a thousand tokens."""


def address(desired: CoordinatorSpec, stream: str) -> str:
    """Where the stream's HF folder is, or will be once it is prepared. Pure."""
    spec, source = desired.spec, stage_plan.model_source(desired.spec, stream)
    if source.startswith(urls.SCHEME):
        return urls.folder(source)
    own = stream == stage_plan.USER and source != spec.model.source
    return urls.folder(urls.join(desired.run_url, "base-user" if own else "base"))


def prepare(store: ObjectStore, desired: CoordinatorSpec, stream: str) -> str:
    """Address of the stream's HF folder, complete. Blocking; the same after every restart.

    Raises:
        PreconditionError: there is no such model.
        ModelUnavailableError: it can't be downloaded now.
    """
    source, target = stage_plan.model_source(desired.spec, stream), address(desired, stream)
    if source.startswith(urls.SCHEME):
        _require_config(store, source)
        return target
    # READY alone counts: a folder without it was left by a kill during an
    # upload, and is written over.
    if not store.exists(urls.join(target, READY)):
        with tempfile.TemporaryDirectory(prefix="base-") as folder:
            _fetch(store, desired, source, Path(folder))
            _upload(store, Path(folder), target, source)
    return target


def _require_config(store: ObjectStore, source: str) -> None:
    if not store.exists(urls.join(source, "config.json")):
        raise PreconditionError(
            "ModelNotFound",
            f"{source} has no config.json, so it is not a model in HF layout. Correct the source.",
        )


def _fetch(store: ObjectStore, desired: CoordinatorSpec, source: str, folder: Path) -> None:
    if source == TINY:
        _build_tiny(store, desired, folder)
    else:
        _download_from_hub(source.removeprefix(HUB), folder)


def _build_tiny(store: ObjectStore, desired: CoordinatorSpec, folder: Path) -> None:
    # Imported here: the tokenizer's library is not needed again in the life of this process.
    from sea_data.tiny_model import model_folder, tokenizer
    from sea_env.domains import registry

    spec = desired.spec
    policies = [registry.get(name).system_prompt() for name in spec.domains]
    # In the spec's order, without duplicates: a build that is repeated gives the same tokenizer.
    files = dict.fromkeys(f for s in spec.stages for f in stage_plan.dialogue_files(desired, s))
    rows = (row for file in files for row in islice(_rows(store, file), MAX_ROWS))
    model_folder.build(
        tokenizer.texts(tokenizer.from_rows(rows), policies), folder, spec.model.context_length
    )


def _rows(store: ObjectStore, file: str) -> Iterator[dict[str, Any]]:
    found = (row for _, row in objects(lines(store, file), file))
    return (row for row in found if not isinstance(row, RowError))


def _download_from_hub(address: str, folder: Path) -> None:
    """`address`: OWNER/NAME, with @REVISION for a branch, tag or commit."""
    from huggingface_hub import errors, snapshot_download

    name, _, revision = address.partition("@")
    try:
        snapshot_download(name, revision=revision or None, local_dir=folder, etag_timeout=30.0)
    except (
        # A gated repository, too, is one that isn't found.
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.DisabledRepoError,
        errors.HFValidationError,
    ) as error:
        raise PreconditionError(
            "ModelNotFound",
            f"hf://{address} isn't there for this job ({error}). Check the name and HF_TOKEN, or "
            "copy the model to S3 and name it as s3://bucket/prefix.",
        ) from error
    # Everything else passes: the hub or the network is away, the volume is full.
    except Exception as error:
        raise ModelUnavailableError(
            f"hf://{address} could not be downloaded ({type(error).__name__}: {error}). Check that "
            "the coordinator's pod reaches the hub and has room in /tmp, or copy the model to S3 "
            "and name it as s3://bucket/prefix."
        ) from error


def _upload(store: ObjectStore, folder: Path, target: str, source: str) -> None:
    """READY.json last: if it exists, the folder is complete."""
    files = upload_folder(store, folder, target)
    body = {"source": source, "files": [file._asdict() for file in files]}
    try:
        # Only if absent: two coordinators (a node that only seemed dead)
        # may prepare the same model.
        store.put_if(urls.join(target, READY), json.dumps(body, indent=2).encode(), None)
    except PreconditionFailedError:
        log.warning("another coordinator prepared %s at the same time", target)
