"""A training process and its pipes."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from sea_runtime.trainer.process_handle import ProcessHandle
from sea_testing.waiting import HANG_S, wait_for

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


HANGS = """
import time
from sea_runtime.trainer.process import _write_stacks_when_asked

def waits_for_ever():
    print('{"event": "joined", "attempt": 1}', file=open(int(os.environ["SEA_STATUS_FD"]), "w"))
    time.sleep(1000)

import os
_write_stacks_when_asked()
waits_for_ever()
"""


async def test_a_process_that_hangs_says_where(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    stacks = tmp_path / "stacks.txt"
    process = await ProcessHandle.start(environment, module="hangs", stacks=stacks)
    try:
        await asyncio.to_thread(wait_for, "the process", lambda: process.joined)
        assert "waits_for_ever" in await process.stacks()
        assert (await process.stacks()).count("waits_for_ever") == 1, "only what is new"
    finally:
        await process.kill()
    assert await process.stacks() == ""
