"""Which files install the operator, and how their images become those of the cluster at hand."""

from pathlib import Path
from typing import Any

import yaml

from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.options import ROOT

CRD = ROOT / "crds" / "sea-operator.io_seatrainingjobs.yaml"
OPERATOR = ROOT / "deploy" / "operator.yaml"
IMAGE_PREFIX = "sea-operator/"


def operator_objects(registry: str, tag: str) -> list[dict[str, Any]]:
    """The operator's manifests with images `<registry>sea-operator/<role>:<tag>`."""
    text = OPERATOR.read_text()
    return [
        _with_images(document, registry, tag)
        for document in yaml.safe_load_all(text)
        if document is not None
    ]


def _with_images(value: Any, registry: str, tag: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_images(inner, registry, tag) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_images(inner, registry, tag) for inner in value]
    if isinstance(value, str) and value.startswith(IMAGE_PREFIX) and ":" in value:
        return f"{registry}{value.rpartition(':')[0]}:{tag}"
    return value


def data_arguments(domain: str) -> list[str]:
    """Arguments of `sea data` that make the training data of a demo domain."""
    if domain != "shop":
        raise DemoError(
            f"The demo makes data for the domain shop only, not for {domain}: name a folder of "
            "tasks, dialogues and databases with --data (`sea data tau2` writes one)."
        )
    return ["shop", "--seed", "0"]


def crd_file() -> Path:
    return CRD
