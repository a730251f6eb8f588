"""The files of an exported model besides its weights: `export.py` and `checkpoint/export.py`."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.data import ThinkingHistory
from sea_data.models import exported
from sea_env.tokens import model_folder
from sea_env.tokens.exported_template import UnknownTemplateRuleError, change_in_folder
from sea_env.tokens.markup import IM_END
from sea_runtime.wire.trainer import TrainerTask

log = logging.getLogger(__name__)
INDEX = "model.safetensors.index.json"
TOKENIZER, GENERATION = "tokenizer.json", "generation_config.json"
READY = "READY.json"
"""Written last: a folder that has it is complete."""


def strips_thoughts(task: TrainerTask) -> bool:
    """The user model keeps its thoughts whatever the policy does."""
    assert task.spec is not None, "only a task that trains is exported"
    history = task.spec.model.thinking_history
    return task.stream == "policy" and history is ThinkingHistory.STRIP


def write(
    initial: Path, folder: Path, dtype: str, index: Mapping[str, Any], *, strips_thoughts: bool
) -> None:
    """Writes the index of the weights, and all that is taken over from the initial model.

    Args:
        dtype: of the weights: float32 or bfloat16.
    """
    (folder / INDEX).write_text(json.dumps(index, indent=1))
    copy_others(initial, folder, dtype, strips_thoughts=strips_thoughts)


def copy_others(initial: Path, folder: Path, dtype: str, *, strips_thoughts: bool = False) -> None:
    """Copies tokenizer and generation settings as they are; adapts config.json, the template of a
    model that thinks (it shows the thoughts that the job's own prompts show), and generation
    settings by which an answer would not end with its turn."""
    for file in initial.iterdir():
        if file.is_file() and exported.is_copied(file.name):
            shutil.copy(file, folder / file.name)
    try:
        if change_in_folder(folder, strips_thoughts=strips_thoughts):
            log.info("the exported chat template shows thoughts as the job's episodes do")
    except UnknownTemplateRuleError as error:
        log.warning(
            "%s Served with it, the model gets other prompts than in this job: its own Evaluation "
            "counts.",
            error,
        )
    _end_turns(folder)
    config = folder / "config.json"
    config.write_text(exported.configuration(config.read_text(), dtype))


def _end_turns(folder: Path) -> None:
    if not (folder / TOKENIZER).is_file():
        return
    end = model_folder.tokenizer(folder).token_to_id(IM_END)
    file = folder / GENERATION
    # Without the file, readers take the token from config.json.
    settings = file if file.is_file() else folder / "config.json"
    changed = exported.generation(settings.read_text(), end, only_ends=settings is not file)
    if changed is not None:
        file.write_text(changed)
