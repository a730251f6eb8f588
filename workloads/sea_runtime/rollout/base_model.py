"""The base model's folder on the pod's disk: downloaded once, reused after a restart."""

import json
import logging
import shutil
from pathlib import Path

from sea_data.object_store.errors import ObjectNotFoundError
from sea_data.object_store.urls import folder, join
from sea_env.tokens.folder import FILES as TEMPLATE_FILES
from sea_runtime.store.s3 import ObjectStore

_log = logging.getLogger(__name__)
_DONE = ".complete"
TOKENIZER_FILES = ("tokenizer.json", "config.json")


def fetch(store: ObjectStore, url: str, target: Path) -> Path:
    """Downloads the HF folder `url` unless `target` already holds it whole."""
    marker = target / _DONE
    if marker.exists() and marker.read_text() == url:
        _log.info("The base model %s is here already.", url)
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    store.download_folder(url, target)
    marker.write_text(url)
    return target


def fetch_tokenizer(store: ObjectStore, url: str, target: Path) -> Path:
    """Downloads only what a renderer needs: the tokenizer, and the chat template where it lies."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        body = store.get(join(folder(url), name))
        if name == "config.json":
            json.loads(body)
        (target / name).write_bytes(body)
    for name in TEMPLATE_FILES:
        try:
            (target / name).write_bytes(store.get(join(folder(url), name)))
        except ObjectNotFoundError:
            (target / name).unlink(missing_ok=True)
    return target
