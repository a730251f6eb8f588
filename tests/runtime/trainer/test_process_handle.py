"""A training process and its pipes."""

import asyncio
import os
from pathlib import Path

import pytest

from sea_runtime.trainer.process_handle import ProcessHandle
from sea_testing.waiting import HANG_S

LOUD = """
import sys
sys.stderr.write("x" * (3 << 20))
sys.stderr.write("\\nat last\\n\\n")
"""


@pytest.mark.component
async def test_a_line_without_an_end_does_not_block_the_process(tmp_path: Path) -> None:
    """A progress bar is one: nobody reading on would fill the pipe, and look like a hang."""
    (tmp_path / "loud.py").write_text(LOUD)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    child = await ProcessHandle.start(environment, module="loud")
    try:
        await asyncio.wait_for(child.ended(), HANG_S)
        assert child.exit_code == 0
        assert child.last_line == "at last"
    finally:
        await child.kill()
