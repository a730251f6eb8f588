"""The base model's folder on the pod's disk: downloaded once, reused after a restart.

`engine` waits for the coordinator to prepare the model and downloads it, without its weights if
the engine starts empty; `worker` downloads only what a renderer needs
(`store.folders.download_tokenizer`).
"""

import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from sea_data.models import fp8_blocks
from sea_runtime.client.calls import CoordinatorUnreachableError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.store.folders import download_folder
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.weights import ModelReply

_log = logging.getLogger(__name__)
_DONE = ".complete"
_WITHOUT = "without weights"
_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth")
_POLL_SECONDS = 0.5


def await_model(
    client: CoordinatorClient, stream: str, sleep: Callable[[float], None] = time.sleep
) -> ModelReply:
    """Asks until the coordinator has prepared the base model, however long that takes."""
    while True:
        try:
            reply = client.model(stream)
        except CoordinatorUnreachableError as error:
            _log.warning("%s Still waiting.", error)
            reply = None
        if reply is not None:
            return reply
        sleep(_POLL_SECONDS)


def _is_weights(name: str) -> bool:
    return name.endswith(_WEIGHTS)


def fetch(
    store: ObjectStore, url: str, target: Path, *, weights: bool = True, dequantize_to: str = ""
) -> Path:
    """Downloads the HF folder `url` unless `target` already holds all that is needed.

    Args:
        weights: False downloads everything but the weights' files.
        dequantize_to: a dtype (bfloat16, float32): FP8 weights are rewritten in it. Empty leaves
            them as they are.
    """
    marker, form = target / _DONE, f" dequantized to {dequantize_to}" if dequantize_to else ""
    whole, without = f"{url}{form}", f"{url}{form} {_WITHOUT}"
    found = marker.read_text() if marker.exists() else ""
    if found == whole or (found == without and not weights):
        _log.info("The base model %s is on disk already.", url)
        return target
    # Files of another model, or of a download that was cut short, must not mix with this one's.
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    download_folder(store, url, target, (lambda _: False) if weights else _is_weights)
    if dequantize_to:
        _dequantize(target, dequantize_to)
    # Written last: a download that a restart cut short starts again from scratch.
    marker.write_text(whole if weights else without)
    return target


def _dequantize(folder: Path, dtype: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    if not fp8_blocks.is_in_blocks(config):
        return
    # Here, since they take seconds to import and few folders are quantized.
    import torch

    from sea_runtime import fp8_weights

    _log.info("Dequantizing the FP8 weights to %s.", dtype)
    fp8_weights.dequantize_folder(folder, getattr(torch, dtype))
