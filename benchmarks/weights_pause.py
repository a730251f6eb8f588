"""The pause of an update against a full reload from safetensors, in one vLLM engine on the CPU.

`python weights_pause.py FOLDER` builds a random Qwen3-MoE of 10,195 tensors there (80 MB; like the
reference's, most are small parts of experts) and alternates vLLM's own `reload_weights` with the
three calls of an update whose bytes are in host memory. Prints rows; the last line is JSON. Part of
`make bench-weights`, which sets vLLM's variables.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from vllm import LLM

from sea_runtime.parallel import hf_config, weight_map
from sea_runtime.rollout.vllm_plugin import recorder, staging
from sea_runtime.rollout.vllm_plugin.cpu_moe_prepack import forget_moe_kernels
from sea_runtime.rollout.vllm_plugin.recorder import Recording
from sea_runtime.rollout.vllm_plugin.staged_tensors import StagedTensors, writes
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import reads_of
from sea_runtime.wire.weights import Shard, WeightVersion

ROUNDS = 3
MAX_TOKENS = 256
CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 64,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "vocab_size": 1024,
    "rope_theta": 1000000,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "attention_bias": False,
}

Tensors = dict[str, torch.Tensor]


def build(folder: Path) -> Tensors:
    """Writes the model's folder; returns its tensors."""
    shapes = weight_map.tensor_shapes(hf_config.parse(json.dumps(CONFIG)))
    tensors = {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return tensors


class Engine:
    """vLLM without a server."""

    def __init__(self, folder: Path, tensors: Tensors, sequences: int = 4) -> None:
        self.llm = LLM(
            str(folder),
            skip_tokenizer_init=True,
            dtype="float32",
            enforce_eager=True,
            max_model_len=MAX_TOKENS,
            block_size=32,
            max_num_seqs=sequences,
            logprobs_mode="processed_logprobs",
            kv_cache_memory_bytes=64 << 20,
            distributed_executor_backend="uni",
            weight_transfer_config={"backend": "sea"},
        )
        types = {name: (one.dtype, one.shape) for name, one in tensors.items()}
        (self._recording,) = self.llm.collective_rpc(
            lambda worker: recorder.record(worker.get_model(), types)
        )
        self.stage(tensors)

    def stage(self, tensors: Tensors) -> None:
        """What happens while the engine generates."""
        layers = list(fetched(self._recording, tensors))
        staging.Staging.layers = lambda *_: iter(layers)  # type: ignore[method-assign]

    def update(self) -> None:
        """What requests wait for."""
        self.llm.collective_rpc("start_weight_update")
        self.llm.collective_rpc("update_weights", args=({"version": 1, "attempt": 1},))
        self.llm.collective_rpc("finish_weight_update")

    def reload(self) -> None:
        """The file is in the page cache, which favors the reload."""
        self.llm.collective_rpc(lambda worker: forget_moe_kernels(worker.get_model()))
        self.llm.collective_rpc("reload_weights")


def fetched(recording: Recording, tensors: Tensors) -> Iterator[Any]:
    """What `Staging` hands out once a worker has fetched the version."""
    blocks = manifest.plan(tensors)
    packed = manifest.allocate(manifest.total_bytes(blocks))
    shard = Shard(rank=0, nbytes=packed.numel(), blocks=blocks)
    manifest.pack(blocks, tensors.items(), packed)
    (read,) = reads_of(
        WeightVersion(stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[shard]),
        recording.needed(),
    )
    buffer = manifest.allocate(read.nbytes)
    for run in read.runs:
        buffer[run.local : run.local + run.nbytes] = packed[run.remote : run.remote + run.nbytes]
    staged = StagedTensors([read], {0: buffer})
    for layer, copies in recording.layers:
        yield layer, copies, writes(copies, staged.get)


def seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    folder = Path(sys.argv[1])
    tensors = build(folder)
    engine = Engine(folder, tensors)
    found: dict[str, list[float]] = {"pause": [], "reload": []}
    for index in range(ROUNDS + 1):
        for kind, work in (("pause", engine.update), ("reload", engine.reload)):
            spent = seconds(work)
            if index:  # the first of each warms caches
                found[kind].append(spent)
    pause, reload = (statistics.median(one) for one in found.values())
    nbytes = sum(one.numel() * one.element_size() for one in tensors.values())
    print(f"vLLM on the CPU, {len(tensors):,} tensors, {nbytes / 1e6:.0f} MB, CPU seconds")
    print(f"  pause of an update          {pause:8.3f} s")
    print(f"  reload from safetensors     {reload:8.3f} s")
    print(json.dumps({"pause_ratio": round(pause / reload, 3)}))


if __name__ == "__main__":
    main()
