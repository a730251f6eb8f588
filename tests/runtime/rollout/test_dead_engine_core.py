"""However vLLM's engine core ends by itself, its server ends with a code and a sentence.

With real engines: `engine/test_applied_state.py`, `engine/test_tensor_parallel.py`.
"""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.engine.core_client import BackgroundResources
from vllm.v1.engine.utils import CoreEngineProcManager

from sea_runtime.rollout import dead_engine_core


class ExitedError(Exception):
    """In place of this process's end."""


def end(code: int) -> None:
    raise ExitedError(code)


def monitored(failed: str | None) -> None:
    """What vLLM's own thread finds when the core's process has ended."""
    manager = SimpleNamespace(
        processes=[],
        shutdown=lambda: None,
        failed_proc_name=failed,
        finished_procs=lambda: {failed: -9},
    )
    watch: Any = CoreEngineProcManager.monitor_engine_liveness
    watch(manager)


def received(*frames: bytes) -> None:
    """What vLLM's client does with each message of the core."""
    BackgroundResources(ctx=None).validate_alive([zmq.Frame(one) for one in frames])


@pytest.mark.parametrize(
    ("happens", "sentence"),
    [
        (lambda: monitored("EngineCore"), "vLLM's process EngineCore ended with exit code -9;"),
        (lambda: received(EngineCoreProc.ENGINE_CORE_DEAD), "vLLM's engine core failed,"),
        (lambda: monitored(None), ""),
        (lambda: received(b"an answer"), ""),
    ],
    ids=["it dies", "it gives up", "it was asked to end", "it answers"],
)
def test_the_server_ends_with_its_core(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    happens: Callable[[], None],
    sentence: str,
) -> None:
    monkeypatch.setattr(os, "_exit", end)
    for owner, name in (
        (CoreEngineProcManager, "monitor_engine_liveness"),
        (BackgroundResources, "validate_alive"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back after the test
    for _ in range(2):
        dead_engine_core.exit_with_engine_core()
    delattr(CoreEngineProcManager, dead_engine_core._MARK)
    if sentence:
        with pytest.raises(ExitedError) as caught:
            happens()
        assert caught.value.args == (dead_engine_core.EXIT_CODE,)
    else:
        happens()
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(sentence) for line in lines] == [True] * bool(sentence)
