"""A process that prints other things between its messages."""

import asyncio
import sys

import pytest

from sea_runtime.coordinator.synthesis_process import SynthesisProcess
from sea_testing.waiting import HANG_S

SAYS = """
import json
for text in ("x" * 300_000, "[1]", "5", '{"domain": 1}', "no JSON", *["y" * 100] * 2000):
    print(text)
print(json.dumps({"domain": "shop", "made": 3}))
print(json.dumps({"error": "The world is too small."}))
raise SystemExit(2)
"""


@pytest.mark.component
async def test_its_output_is_read_to_the_end() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SAYS, stdout=asyncio.subprocess.PIPE
    )
    synthesis = SynthesisProcess("request", process)
    try:
        await asyncio.wait_for(process.wait(), HANG_S)
        await asyncio.wait_for(synthesis._reader, HANG_S)
    finally:
        if process.returncode is None:
            process.kill()
    assert synthesis.ended
    assert synthesis.total == 3
    assert synthesis.problem == "The world is too small."
