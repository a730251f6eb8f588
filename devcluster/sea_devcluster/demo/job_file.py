"""The job that the demo was asked to run, looked at before anything is started."""

from pathlib import Path
from typing import Any

import yaml

from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.manifests import data_arguments

NEEDED = (
    ("metadata", "name"),
    ("spec", "stages"),
    ("spec", "domains"),
    ("spec", "storage", "url"),
    ("spec", "storage", "credentialsSecret"),
)
"""What the demo itself reads; the API server looks at the rest."""


def read(path: Path) -> dict[str, Any]:
    """The manifest in a file.

    Raises:
        DemoError: It is no SEATrainingJob, or lacks what the demo needs.
    """
    try:
        manifest = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DemoError(f"{path} can't be read ({error.strerror}); name a job's file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DemoError(f"{path} is not one YAML document ({reason}); correct it.") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "SEATrainingJob":
        raise DemoError(f"{path} holds no SEATrainingJob; take one of examples/ as a pattern.")
    missing = [".".join(keys) for keys in NEEDED if not _at(manifest, keys)]
    if missing:
        raise DemoError(f"{path} lacks {', '.join(missing)}; add what is missing.")
    return manifest


def require_data(manifest: dict[str, Any], data: Path | None) -> None:
    """Looks whether there will be data.

    Raises:
        DemoError: The job reads some, none were given, and the demo can't make them.
    """
    if "data" in manifest["spec"] and data is None:
        data_arguments(manifest["spec"]["domains"][0])


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
