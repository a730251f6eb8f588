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
sys.stderr.write("\\nlast line\\n\\n")
"""


@pytest.mark.component
async def test_a_line_without_an_end_does_not_block_the_process(tmp_path: Path) -> None:
    """A progress bar is one: unread, it would fill the pipe, which would look like a hang."""
    (tmp_path / "loud.py").write_text(LOUD)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = await ProcessHandle.start(environment, module="loud")
    try:
        await asyncio.wait_for(process.ended(), HANG_S)
        assert process.exit_code == 0
        assert process.last_line == "last line"
    finally:
        await process.kill()
