"""Updates a real in-process vLLM with one workaround left out at a time and says what it computes.

A program, not a module: `python workaround_probe.py MODEL OUT`. For each case the weights are saved
as OUT/CASE.safetensors; the last line is a JSON object {case: log-probabilities of PROMPT}, and
under `prompt`, `start_methods`, `cpu_seeded_prefill`, `cpu_routed_experts` and `dead_engine_core`
what their names say.
"""

import asyncio
import json
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import zmq
from safetensors.torch import load_file, save_file
from vllm import LLM, SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.engine import core_client
from vllm.v1.engine import utils as engine_utils
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

from sea_runtime.parallel.regions import Region
from sea_runtime.rollout.forked_engine_core import fork_engine_core
from sea_runtime.rollout.vllm_plugin import (
    cpu_seeded_prefill,
    recorder,
    staged_tensors,
    staging,
    transfer_engine,
)
from sea_runtime.rollout.vllm_plugin.cpu_moe_prepack import forget_moe_kernels

PROMPT = [(i * 37) % 50 + 5 for i in range(40)]
CONTEXT = 64


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def refuse_offset(generator: torch.Generator, offset: int) -> None:
    """What a plain CPU generator does."""
    torch.Generator.set_offset(generator, offset)


def nothing(*_: Any) -> int:
    return 0


LEFT_OUT: dict[str, tuple[Any, str, Any]] = {
    "cpu_moe_prepack": (transfer_engine, "forget_moe_kernels", nothing),
    "cpu_tied_head": (transfer_engine, "repack_heads", nothing),
    "nothing": (transfer_engine, "forget_moe_kernels", forget_moe_kernels),
}
"""Case -> what replaces the workaround."""


@dataclass(frozen=True)
class Held:
    """Whole tensors, as if they were staged."""

    tensors: dict[str, torch.Tensor]

    def get(self, name: str, region: Region) -> torch.Tensor:
        tensor = self.tensors[name]
        return tensor[region.within(Region.whole(tensor.shape))]


class Engine:
    """vLLM without a server, in this process."""

    def __init__(self, folder: Path) -> None:
        self._recording: recorder.Recording | None = None
        self._llm = LLM(
            str(folder),
            skip_tokenizer_init=True,
            dtype="float32",
            enforce_eager=True,
            max_model_len=CONTEXT,
            block_size=32,
            max_num_seqs=8,
            max_num_batched_tokens=32,  # PROMPT is prefilled in two parts
            kv_cache_memory_bytes=16 << 20,
            distributed_executor_backend="uni",
            weight_transfer_config={"backend": "sea"},
        )

    def update(self, tensors: dict[str, torch.Tensor]) -> None:
        """As the worker updates: the three calls in order, with the tensors as staged ones."""
        if self._recording is None:
            types = {name: (one.dtype, one.shape) for name, one in tensors.items()}
            (self._recording,) = self._llm.collective_rpc(
                lambda worker: recorder.record(worker.get_model(), types)
            )
        held = Held(tensors)
        staged = [
            (layer, copies, staged_tensors.writes(copies, held.get))
            for layer, copies in self._recording.layers
        ]
        with replaced(staging.Staging, "layers", lambda *_: iter(staged)):
            self._llm.collective_rpc("start_weight_update")
            self._llm.collective_rpc("update_weights", args=({"version": 1, "attempt": 1},))
            self._llm.collective_rpc("finish_weight_update")

    def logprobs(self) -> list[float]:
        """Of each token of PROMPT but the first."""
        parameters = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        prompt: Any = {"prompt_token_ids": PROMPT}
        (output,) = self._llm.generate([prompt], parameters, use_tqdm=False)
        rows = output.prompt_logprobs[1:]
        return [row[token].logprob for row, token in zip(rows, PROMPT[1:], strict=True)]

    def seeded(self) -> list[Any]:
        """Tokens of a seeded request in parts, in one piece (its prefix is cached now), again in
        one piece, and with another seed; first the error of one without the workaround."""
        parts = self.tokens(seed=1)
        whole, again, other = self.tokens(seed=1), self.tokens(seed=1), self.tokens(seed=2)
        # Last, since it ends the engine.
        with replaced(cpu_seeded_prefill.RewindableGenerator, "set_offset", refuse_offset):
            try:
                self._llm.reset_prefix_cache()
                self.tokens(seed=1)
            except RuntimeError as error:
                return [repr(error), parts, whole, again, other]
        return ["", parts, whole, again, other]

    def tokens(self, seed: int) -> list[int]:
        """Sixteen tokens after a prompt of two parts that no other case uses."""
        prompt: Any = {"prompt_token_ids": PROMPT[::-1]}
        parameters = SamplingParams(seed=seed, max_tokens=16, ignore_eos=True, detokenize=False)
        (output,) = self._llm.generate([prompt], parameters, use_tqdm=False)
        return list(output.outputs[0].token_ids)


def routed_experts(folder: Path) -> str:
    """vLLM's objection to the flag for them, which it makes before there is an engine."""
    arguments = EngineArgs(
        str(folder),
        skip_tokenizer_init=True,
        max_model_len=CONTEXT,
        enable_return_routed_experts=True,
    )
    try:
        arguments.create_engine_config()
    except ValueError as error:
        return str(error)
    return ""


def start_methods() -> list[str]:
    """vLLM's own way of starting an engine core on this platform, and the one with our change."""
    own = engine_utils.get_mp_context().get_start_method()
    fork_engine_core()
    return [own, engine_utils.get_mp_context().get_start_method()]


class DeadCore:
    """Of an engine core's manager: its process has ended."""

    def monitor_engine_liveness(self) -> None:
        pass

    def shutdown(self, timeout: float | None = None) -> None:
        pass


def client_of(core: Any, output_socket: Any = None) -> Any:
    """vLLM's client of an engine core, as far as an open call needs it."""
    client: Any = object.__new__(core_client.AsyncMPClient)
    client.resources = core_client.BackgroundResources(
        ctx=None, engine_manager=core, output_socket=output_socket
    )
    client._finalizer = weakref.finalize(client, nothing)
    client.utility_results, client.client_index = {}, 0
    client.core_engine, client.encoder, client.decoder = b"", MsgpackEncoder(), MsgpackDecoder()
    client.outputs_queue = asyncio.Queue()
    return client


@asynccontextmanager
async def open_call(client: Any) -> AsyncIterator["asyncio.Future[Any]"]:
    async def sent(*_: Any) -> None:
        pass

    with replaced(core_client.AsyncMPClient, "_send_input_message", sent):
        call = asyncio.ensure_future(client.call_utility_async("get_weight_version"))
        await asyncio.sleep(0)  # up to its wait
        assert len(client.utility_results) == 1
        yield call
    call.cancel()


async def is_answered_after_death() -> bool:
    """Whether vLLM's client fails a call that is open when its engine core ends."""
    with replaced(core_client.AsyncMPClient, "_ensure_output_queue_task", nothing):
        client = client_of(DeadCore())
        async with open_call(client) as call:
            client.start_engine_core_monitor()
            for thread in threading.enumerate():
                if thread.name == "MPClientEngineMonitor":
                    await asyncio.to_thread(thread.join)
            assert client.resources.engine_dead
            await asyncio.sleep(0)  # what the monitor left to the loop
            return call.done()


class LastMessage:
    """The socket of an engine core that reports that it can't go on."""

    def __init__(self) -> None:
        self._left = [[zmq.Frame(EngineCoreProc.ENGINE_CORE_DEAD)]]

    async def recv_multipart(self, **_: Any) -> list[zmq.Frame]:
        return self._left.pop() if self._left else await asyncio.Future()


async def is_answered_after_last_message() -> bool:
    """Whether vLLM's client fails a call that is open when its engine core gives up."""
    client = client_of(None, LastMessage())
    async with open_call(client) as call:
        assert isinstance(await client.outputs_queue.get(), EngineDeadError)
        assert client.resources.engine_dead
        await asyncio.sleep(0)
        return call.done()


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    engine = Engine(folder)
    base = load_file(folder / "model.safetensors")
    found: dict[str, Any] = {"prompt": PROMPT}
    for seed, case in enumerate(LEFT_OUT):
        torch.manual_seed(seed)
        tensors = {name: one + 0.05 * torch.randn_like(one) for name, one in base.items()}
        save_file(tensors, out / f"{case}.safetensors")
        with replaced(*LEFT_OUT[case]):
            engine.update(tensors)
        found[case] = engine.logprobs()
    found["start_methods"] = start_methods()
    found["cpu_routed_experts"] = routed_experts(folder)
    found["dead_engine_core"] = {
        "dies": asyncio.run(is_answered_after_death()),
        "gives up": asyncio.run(is_answered_after_last_message()),
    }
    found["cpu_seeded_prefill"] = engine.seeded()
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
