"""The files of an exported model besides its weights: `export.py` and `checkpoint/export.py`."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sea_data.models import exported
from sea_env.tokens.kept_thoughts import UnkeptThoughtsError, keep_in_folder

log = logging.getLogger(__name__)
INDEX = "model.safetensors.index.json"
READY = "READY.json"
"""Written last: a folder that has it is complete."""


def write(initial: Path, folder: Path, dtype: str, index: Mapping[str, Any]) -> None:
    """Writes the index of the weights, and all that is taken over from the initial model.

    Tokenizer and generation settings are copied as they are; config.json is adapted, and the
    template of a model that thinks: it keeps the thoughts of all turns, as the job's episodes do.

    Args:
        dtype: of the weights: float32 or bfloat16.
    """
    (folder / INDEX).write_text(json.dumps(index, indent=1))
    copy_others(initial, folder, dtype)


def copy_others(initial: Path, folder: Path, dtype: str) -> None:
    for file in initial.iterdir():
        if file.is_file() and exported.is_copied(file.name):
            shutil.copy(file, folder / file.name)
    try:
        if keep_in_folder(folder):
            log.info("the exported chat template keeps the thoughts of all turns, as episodes do")
    except UnkeptThoughtsError as error:
        log.warning(
            "%s Served with it, the model gets other prompts than in this job: its own Evaluation "
            "counts.",
            error,
        )
    config = folder / "config.json"
    config.write_text(exported.configuration(config.read_text(), dtype))
