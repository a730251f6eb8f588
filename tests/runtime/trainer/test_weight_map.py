"""Names and layouts of weights, Hugging Face <-> Megatron; models and layouts that are refused."""

import json

import pytest
import torch

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.parallel.hf_config import ModelError
from sea_runtime.parallel.parallel_layout import LayoutError
from sea_runtime.trainer import weight_map
from sea_runtime.trainer.weight_map import Fusion

CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 3,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 5,
    "vocab_size": 11,
    "tie_word_embeddings": True,
}


def parsed(**changes: object) -> hf_config.ModelShape:
    return hf_config.parse(json.dumps({**CONFIG, **changes}))


@pytest.mark.parametrize("changes", [{}, {"num_experts": 0}, {"tie_word_embeddings": False}])
def test_every_fusion_is_undone_exactly(changes: dict[str, object]) -> None:
    sizes = parsed(**changes)
    rows = {"q": 4 * 3, "k": 2 * 3, "v": 2 * 3}
    for weight in weight_map.rank_weights(sizes, range(sizes.experts)):
        if weight.fusion is Fusion.QKV:
            parts = [torch.randn(rows[x], 8) for x in "qkv"]
        else:
            parts = [torch.randn(5, 8) for _ in weight.hf]
        merged = weight_map.to_megatron(weight, parts, sizes)
        for before, after in zip(parts, weight_map.to_hf(weight, merged, sizes), strict=True):
            assert torch.equal(before, after)


def test_qkv_is_grouped_by_key_value_head() -> None:
    sizes = parsed()
    q, k, v = (torch.full((n, 8), float(i)) for i, n in ((1, 12), (2, 6), (3, 6)))
    weight = next(w for w in weight_map.rank_weights(sizes, [0]) if w.fusion is Fusion.QKV)
    merged = weight_map.to_megatron(weight, [q, k, v], sizes)
    assert (
        merged[:, 0].tolist()
        == [1.0] * 6 + [2.0] * 3 + [3.0] * 3 + [1.0] * 6 + [2.0] * 3 + [3.0] * 3
    )


def test_ranks_name_all_tensors_once() -> None:
    sizes = parsed()
    one = [name for w in weight_map.rank_weights(sizes, range(4)) for name in w.hf]
    spread: list[str] = []
    for rank in range(2):
        experts = parallel_layout.ParallelLayout(rank, 2, 2).local_experts(4)
        own = weight_map.published(
            weight_map.rank_weights(sizes, experts), dense=rank == 0, experts=True
        )
        spread += [name for w in own for name in w.hf]
    assert sorted(spread) == sorted(one)
    assert len(set(one)) == len(one) == 3 - 1 + 2 * (2 + 6 + 1 + 4 * 3)
    assert "model.layers.1.mlp.experts.3.gate_proj.weight" in one


def test_both_specs_have_the_same_tensors() -> None:
    sizes = parsed()
    names = [[w.hf for w in weight_map.rank_weights(sizes, range(4), te)] for te in (False, True)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "can't train LlamaForCausalLM"),
        ({"mlp_only_layers": [0]}, "experts in every layer"),
    ],
)
def test_models_that_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        parsed(**changes)


@pytest.mark.parametrize(
    ("world", "requested", "experts", "words"),
    [
        (3, TrainerParallelism(expert=2), 8, "3 training processes"),
        (4, TrainerParallelism(expert=4), 6, "6 experts"),
    ],
)
def test_layouts_that_are_refused(
    world: int, requested: TrainerParallelism, experts: int, words: str
) -> None:
    with pytest.raises(LayoutError, match=words):
        parallel_layout.plan(0, world, requested, experts)


@pytest.mark.parametrize(("rank", "wanted"), [(0, [0, 1]), (1, [2, 3]), (2, [0, 1]), (3, [2, 3])])
def test_experts_are_spread_over_neighboring_ranks(rank: int, wanted: list[int]) -> None:
    layout = parallel_layout.plan(rank, 4, TrainerParallelism(expert=2), 4)
    assert list(layout.local_experts(4)) == wanted
    assert layout.writes_experts == (rank < 2)


def test_dense_models_have_no_expert_parallelism() -> None:
    assert parallel_layout.plan(0, 2, TrainerParallelism(expert=2), 0).expert == 1
