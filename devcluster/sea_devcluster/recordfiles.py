"""Reading the JSON files by which later commands find a cluster again.

They are written in one step (`paths.write_private`), but a machine that lost its power, or a person
with an editor, can leave one empty or cut. That is a sentence, never a traceback, and `down` works
all the same (`wreck`).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sea_devcluster.errors import RecordError

Record = TypeVar("Record")


def load(path: Path, build: Callable[[Any], Record]) -> Record:
    """What `build` makes of the file's JSON value.

    Raises:
        FileNotFoundError: There is no such file.
        RecordError: It is empty, cut, or not what `build` expects.
    """
    try:
        return build(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"The record {path} cannot be read ({type(error).__name__}: {error}); stop and remove "
            "what is left of this cluster with `python -m sea_devcluster down` (and its --name and "
            "--state-dir, if it was given any), then start it again."
        ) from error
