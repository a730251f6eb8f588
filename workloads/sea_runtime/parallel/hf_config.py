"""The model folder's `config.json` and file headers, with the runtime's errors. Pure but for reads.

`sea_data.models` reads them, since the coordinator has checked the same before a trainer begins;
a folder that was replaced meanwhile ends here in a sentence instead of in wrong weights.
"""

from pathlib import Path

from sea_data.models import folder_check, weight_files
from sea_data.models import shape as shapes
from sea_data.models.shape import ModelConfigError, ModelShape
from sea_data.models.weight_files import WeightFileError
from sea_runtime.errors import RuntimeFailure

__all__ = ["ModelError", "ModelShape", "check_files", "load", "parse"]


class ModelError(RuntimeFailure):
    """The model's files can't be trained as they are."""


def load(folder: Path) -> ModelShape:
    """Reads the model folder's `config.json`. Raises as `parse`."""
    try:
        return parse((folder / "config.json").read_bytes())
    except FileNotFoundError as error:
        raise ModelError(
            "The model folder has no config.json: point model.source to a Hugging Face folder."
        ) from error


def parse(text: str | bytes) -> ModelShape:
    """Reads the text of a `config.json`.

    Raises:
        ModelError: it names the fields that the trainer doesn't compute, or what is missing.
    """
    try:
        return shapes.parse(text)
    except ModelConfigError as error:
        raise ModelError(str(error)) from error


def check_files(shape: ModelShape, folder: Path) -> None:
    """Every tensor of the folder is taken by a parameter, and every parameter gets one.

    Raises:
        ModelError: it names the tensor or the file, and what to do.
    """
    try:
        folder_check.check(weight_files.on_disk(folder), shape)
    except WeightFileError as error:
        raise ModelError(str(error)) from error
