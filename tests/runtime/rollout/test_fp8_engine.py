"""An engine that serves FP8 weights restarts once its model is trained, and then serves others."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoConfig

from sea_runtime.rollout import weight_updater
from sea_runtime.rollout.engine_client import EngineError
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.vllm_plugin.transfer_engine import SeaWorker
from sea_runtime.rollout.weight_updater import WeightUpdater
from sea_runtime.wire.weights import WeightQueryReply
from sea_testing import fp8
from sea_testing.models import tiny_files
from sea_testing.waiting import HANG_S


@dataclass
class Engine:
    """In FP8 until it is terminated; does not answer the first `failures` questions."""

    state: EngineState
    fp8: bool
    failures: int = 0
    asked: int = 0
    terminated: int = 0

    async def has_fp8_weights(self) -> bool:
        self.asked += 1
        if self.asked <= self.failures:
            raise EngineError("no answer")
        return self.fp8

    async def terminate(self) -> None:
        self.terminated += 1
        self.fp8 = False
        asyncio.get_running_loop().call_later(0, self.state.serves, 0)  # its container is back


@dataclass
class Coordinator:
    """Nothing is published yet; `enough` is set once it has given all its answers."""

    trained: list[bool]
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def newer_weights(self, *_: Any) -> WeightQueryReply:
        if not self.trained:
            self.enough.set()
            await asyncio.Event().wait()
        return WeightQueryReply(newest=None, required=0, trained=self.trained.pop(0))


@pytest.mark.parametrize(
    ("_", "fp8", "trained", "failures", "terminated", "asked"),
    [
        ("no stage trains it", True, [False] * 3, 0, 0, 0),
        ("a stage that an edit added has begun", True, [False, *[True] * 5], 0, 1, 2),
        ("it does not answer at first", True, [True] * 6, 2, 1, 4),
        ("it was dequantized when it started", False, [True] * 5, 0, 0, 1),
    ],
)
async def test_only_a_trained_model_s_fp8_engine_restarts(
    monkeypatch: pytest.MonkeyPatch,
    _: str,
    fp8: bool,
    trained: list[bool],
    failures: int,
    terminated: int,
    asked: int,
) -> None:
    """Before any version exists: the trainer computes with other numbers from its first step on.

    Each start of an engine is asked about once, not each answer of the coordinator."""
    monkeypatch.setattr(weight_updater, "RETRY_SECONDS", 0.0)
    state = EngineState()
    state.serves(0)
    engine: Any = Engine(state, fp8, failures)
    client: Any = Coordinator(list(trained))
    running = asyncio.ensure_future(WeightUpdater(client, engine, state, "policy", "pod").run())
    await asyncio.wait_for(client.enough.wait(), HANG_S)
    running.cancel()
    await asyncio.wait([running])
    assert engine.terminated == terminated
    assert engine.asked == asked
    assert state.version == 0


@pytest.mark.parametrize("quantized", [True, False])
def test_a_worker_says_whether_its_folder_was_loaded_in_fp8(
    tmp_path: Path, quantized: bool
) -> None:
    """vLLM's own configuration of a model is transformers'."""
    for name, body in tiny_files().items():
        (tmp_path / name).write_bytes(body)
    if quantized:
        fp8.quantize_folder(tmp_path, (32, 16))
    worker: Any = SimpleNamespace(
        model_config=SimpleNamespace(hf_config=AutoConfig.from_pretrained(tmp_path))
    )
    assert SeaWorker.sea_has_fp8_weights(worker) is quantized
