"""What vLLM's processes load of ours doesn't bring numba along."""

import subprocess
import sys

import pytest

LOAD = """
import importlib, pkgutil, sys
from sea_runtime.rollout import vllm_plugin

for module in pkgutil.iter_modules(vllm_plugin.__path__):
    importlib.import_module(f"{vllm_plugin.__name__}.{module.name}")
assert "sea_runtime.transport.delta_codec" in sys.modules
found = sorted(name for name in sys.modules if name.partition(".")[0] in ("numba", "llvmlite"))
assert not found, found
"""


@pytest.mark.component
def test_nothing_that_vllm_loads_imports_numba() -> None:
    """vLLM 0.32's CPU worker looks through all modules as it starts, and breaks on llvmlite's.

    `delta_codec` therefore imports it at its first use.
    """
    done = subprocess.run(
        [sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
