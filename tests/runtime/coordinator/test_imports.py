"""The memory the coordinator does without."""

import subprocess
import sys

import pytest


@pytest.mark.component
def test_no_training_stack_in_the_coordinator() -> None:
    """It runs within the operator's limits: no torch, no transformers."""
    code = (
        "import sys, sea_runtime.coordinator.app, sea_env.domains.registry\n"
        "found = {'torch', 'transformers', 'vllm'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
