"""What the workers of vLLM's engines take of a model, in layouts that no CPU can run.

vLLM builds its Qwen3-MoE on `meta` for each worker, without weights or peers, and the worker's own
loaders are recorded. So expert and data parallelism are covered here, whose forward pass crashes on
a CPU (vLLM 0.32), and tensor parallelism beyond two processes.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sea_runtime.parallel import hf_config, weight_map
from sea_runtime.parallel.engine_blocks import EngineCuts, blocks
from sea_runtime.parallel.regions import Region
from sea_runtime.transport import manifest
from sea_runtime.transport.read_plan import reads_of
from sea_runtime.wire.weights import Shard, WeightVersion
from sea_testing.models import MOE_CONFIG

pytestmark = pytest.mark.component

CONFIG = MOE_CONFIG | {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 1,
    "hidden_size": 128,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "num_experts": 16,
    "intermediate_size": 256,
    "moe_intermediate_size": 64,
    "vocab_size": 509,
    "max_position_embeddings": 512,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "rope_theta": 1000000,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
}
SHAPE = hf_config.parse(json.dumps(CONFIG))
Needed = Mapping[str, list[Region]]


def group(rank: int, size: int) -> Any:
    """What vLLM's model asks of a process group."""
    device = SimpleNamespace(size=lambda: size, rank=lambda: rank)
    return SimpleNamespace(
        rank=rank,
        rank_in_group=rank,
        local_rank=rank,
        world_size=size,
        ranks=list(range(size)),
        is_first_rank=rank == 0,
        is_last_rank=rank == size - 1,
        first_rank=0,
        last_rank=size - 1,
        device_group=device,
        cpu_group=device,
        unique_name="stub",
        use_message_queue=False,
        device_communicator=None,
        mq_broadcaster=None,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


@pytest.fixture
def needed_by(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Needed]:
    """Records what one worker takes."""
    import vllm.model_executor.layers.fused_moe.expert_map_manager as expert_maps
    from vllm.config import set_current_vllm_config
    from vllm.distributed import parallel_state
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader.utils import initialize_model

    from sea_runtime.rollout.vllm_plugin import recorder

    real = expert_maps.determine_expert_map

    def on_cpu(*args: Any, **kwargs: Any) -> Any:
        # The only tensor of the model whose values are needed to build it.
        with torch.device("cpu"):
            return real(*args, **kwargs)

    def record(worker: int, tensor: int, data: int, *, expert: bool) -> Needed:
        tensor_rank, data_rank = worker % tensor, worker // tensor
        whole, one = group(worker, tensor * data), group(0, 1)
        groups = {"_WORLD": whole, "_EP": whole, "_TP": group(tensor_rank, tensor)}
        groups |= {"_DP": group(data_rank, data), "_PP": one, "_DCP": one, "_PCP": one}
        for name, value in groups.items():
            monkeypatch.setattr(parallel_state, name, value, raising=False)
        monkeypatch.setattr(expert_maps, "determine_expert_map", on_cpu)
        config = EngineArgs(
            model=str(folder),
            skip_tokenizer_init=True,
            load_format="dummy",
            dtype="bfloat16",
            enforce_eager=True,
            max_model_len=256,
            enable_expert_parallel=expert,
        ).create_engine_config()
        parallel = config.parallel_config
        parallel.tensor_parallel_size, parallel.world_size = tensor, tensor
        parallel.data_parallel_size, parallel.rank = data, tensor_rank
        parallel.data_parallel_rank = parallel.data_parallel_index = data_rank
        shapes = weight_map.tensor_shapes(SHAPE)
        types = {name: (torch.bfloat16, shape) for name, shape in shapes.items()}
        with set_current_vllm_config(config):
            with torch.device("meta"):
                model = initialize_model(config)
            return recorder.record(model, types).needed()

    return record


def published(cuts: EngineCuts) -> WeightVersion:
    """The whole model in one shard, cut as the trainer cuts it for such engines."""
    tensors = {
        name: torch.empty(one, dtype=torch.bfloat16, device="meta")
        for name, one in weight_map.tensor_shapes(SHAPE).items()
    }
    found = manifest.plan(tensors, lambda name, one: blocks(name, one, cuts))
    shard = Shard(rank=0, nbytes=manifest.total_bytes(found), blocks=found)
    return WeightVersion(stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[shard])


@pytest.mark.parametrize(
    ("tensor", "data", "expert"),
    [(4, 1, False), (8, 1, False), (8, 1, True), (4, 2, True), (1, 8, True)],
    ids=["TP 4", "TP 8", "TP 8 with EP", "TP 4 x DP 2 with EP", "DP 8 with EP"],
)
def test_workers_take_what_the_trainer_cuts_and_together_everything(
    needed_by: Callable[..., Needed], tensor: int, data: int, expert: bool
) -> None:
    """No worker moves a byte that it doesn't compute with, and no element is in none of them."""
    version = published(EngineCuts(tensor, expert, SHAPE.kv_heads))
    workers = [needed_by(worker, tensor, data, expert=expert) for worker in range(tensor * data)]
    taken: list[set[tuple[str, tuple[int, ...]]]] = []
    for needed in workers:
        (read,) = reads_of(version, needed)
        elements = sum(one.elements for parts in needed.values() for one in parts)
        assert sum(block.nbytes for block in read.blocks) == 2 * elements
        taken.append({(block.name, tuple(block.start)) for block in read.blocks})
    for block in version.shards[0].blocks:
        holders = sum((block.name, tuple(block.start)) in one for one in taken)
        assert holders == holders_of(block.name, tensor, data, expert=expert), block.name


def holders_of(name: str, tensor: int, data: int, *, expert: bool) -> int:
    """Workers that compute with the same part of a tensor."""
    if ".experts." in name:
        return 1 if expert else data
    if "norm" in name or name.endswith("mlp.gate.weight"):
        return tensor * data
    if "k_proj" in name or "v_proj" in name:
        return data * max(1, tensor // SHAPE.kv_heads)
    return data
