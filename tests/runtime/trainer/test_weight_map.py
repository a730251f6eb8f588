"""Coordinates of ranks, and where every weight is stored, in any layout of any shape."""

import json
from collections import Counter
from collections.abc import Mapping
from math import prod

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import (
    export_files,
    hf_config,
    parallel_layout,
    publications,
    weight_map,
)
from sea_runtime.parallel.hf_config import ModelError, ModelShape
from sea_runtime.parallel.parallel_layout import LayoutError, ParallelLayout

EXPERT_FIELDS = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
CONFIG: dict[str, object] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 3,
    "intermediate_size": 12,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 4,
    "vocab_size": 11,
    "tie_word_embeddings": True,
}
QWEN3_235B = {
    **CONFIG,
    "num_hidden_layers": 94,
    "hidden_size": 4096,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 12288,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 1536,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}


def parsed(base: Mapping[str, object] = CONFIG, /, **changes: object) -> ModelShape:
    return hf_config.parse(json.dumps({**base, **changes}))


DENSE = {key: value for key, value in CONFIG.items() if key not in EXPERT_FIELDS} | {
    "architectures": ["Qwen3ForCausalLM"]
}
QWEN2 = {**DENSE, "architectures": ["Qwen2ForCausalLM"], "hidden_size": 24}
"""With biases of query, key and value, and without their norms."""


def ways(*sizes: int) -> st.SearchStrategy[int]:
    return st.sampled_from(sizes)


@st.composite
def models_and_layouts(draw: st.DrawFn) -> tuple[ModelShape, ParallelLayout]:
    tensor, pipeline, context = draw(ways(1, 2, 4)), draw(ways(1, 2, 3)), draw(ways(1, 2))
    expert = draw(ways(1, 2, 4))
    requested = TrainerParallelism(
        tensor=tensor,
        pipeline=pipeline,
        context=context,
        expert=expert,
        expert_tensor=draw(st.one_of(st.none(), ways(1, 2))) if expert > 1 else None,
    )
    family = draw(st.sampled_from([CONFIG, DENSE, QWEN2]))
    sizes: dict[str, object] = {"head_dim": draw(ways(2, 3))} if family is not QWEN2 else {}
    if family is CONFIG:
        sizes["num_experts"] = draw(ways(4, 8))
    shape = parsed(
        family,
        num_hidden_layers=draw(st.integers(1, 5)),
        num_attention_heads=8,
        num_key_value_heads=draw(ways(1, 2, 4, 8)),
        vocab_size=draw(st.integers(9, 20)),
        tie_word_embeddings=draw(st.booleans()),
        **sizes,
    )
    world = tensor * pipeline * context * draw(ways(1, 2, 4))
    try:
        return shape, parallel_layout.plan(requested, shape, world)
    except LayoutError:
        assume(False)
        raise


@settings(max_examples=40, deadline=None)
@given(models_and_layouts())
def test_loading_and_publishing_are_the_identity(case: tuple[ModelShape, ParallelLayout]) -> None:
    """Every byte of every tensor reaches the ranks, and each comes back from exactly one rank."""
    shape, layout = case
    shapes = weight_map.tensor_shapes(shape)
    numbers = np.random.default_rng(0)
    tensors = {n: numbers.integers(1, 1 << 62, size=one) for n, one in shapes.items()}
    ranks = []
    for place in layout.places:
        held = {
            n: np.zeros(s, np.int64) for n, s in weight_map.parameter_shapes(shape, place).items()
        }
        filled = Counter[str]()
        for block in weight_map.blocks(shape, place):
            held[block.parameter][block.target] = tensors[block.tensor][block.source]
            filled[block.parameter] += block.numel
        for name, parameter in held.items():
            # Every element is written once, but for the rows that pad the vocabulary.
            assert filled[name] == np.count_nonzero(parameter)
            assert filled[name] == parameter.size or name in weight_map.VOCABULARY
        ranks.append(held)
    published: dict[str, np.ndarray] = {}
    for one in publications.of_layout(shape, layout):
        assert one.publisher in one.holders
        for name in one.tensors:
            assert name not in published
            published[name] = np.zeros(shapes[name], np.int64)
            for holder in one.holders:
                for block in weight_map.blocks(shape, layout.place(holder)):
                    if block.tensor == name and block.parameter == one.parameter:
                        found = ranks[holder][one.parameter][block.target]
                        published[name][block.source] = found
    assert published.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert published[name].tobytes() == tensor.tobytes(), name


REFERENCE = TrainerParallelism(tensor=4, pipeline=12, expert=4)


@pytest.mark.parametrize(
    ("requested", "world"),
    [
        (TrainerParallelism(tensor=8, pipeline=8, expert=8), 64),
        (TrainerParallelism(tensor=4, pipeline=6, context=2, expert=8), 48),
        (TrainerParallelism(tensor=4, pipeline=2, expert=16), 64),
    ],
    ids=str,
)
def test_all_ranks_publish_each_tensor_of_a_large_model_once(
    requested: TrainerParallelism, world: int
) -> None:
    shape = hf_config.parse(json.dumps(QWEN3_235B | {"num_hidden_layers": 12}))
    layout = parallel_layout.plan(requested, shape, world)
    names = publications.names_by_rank(shape, layout)
    assert sorted(n for some in names.values() for n in some) == sorted(
        weight_map.tensor_shapes(shape)
    )
    assert len(names) == world


def test_the_reference_model_is_published_evenly() -> None:
    shape = hf_config.parse(json.dumps(QWEN3_235B))
    names = publications.names_by_rank(shape, parallel_layout.plan(REFERENCE, shape, 48))
    shapes = weight_map.tensor_shapes(shape)
    nbytes = [2 * sum(prod(shapes[n]) for n in some) for some in names.values()]
    assert len(nbytes) == 48
    assert max(nbytes) * len(nbytes) < 1.15 * sum(nbytes)


def test_the_reference_layout_is_the_example_s() -> None:
    """94 layers in 12 stages, embedding and loss counted as a layer each."""
    shape = hf_config.parse(json.dumps(QWEN3_235B))
    layout = parallel_layout.plan(REFERENCE, shape, 48)
    assert layout.stage_layers == (7, *[8] * 10, 7)
    assert [list(layout.place(rank).layers)[:1] for rank in (0, 3, 4, 47)] == [[0], [0], [7], [87]]
    assert len(layout.place(5).local_experts(128)) == 32


@pytest.mark.parametrize(
    ("layers", "pipeline", "wanted"),
    [
        (4, 1, (4,)),
        (4, 2, (2, 2)),
        (5, 2, (3, 2)),
        (6, 4, (1, 2, 2, 1)),
        (4, 4, (1, 1, 1, 1)),
        (5, 4, (1, 2, 1, 1)),
        (2, 4, (0, 1, 1, 0)),
        (3, 4, (1, 1, 1, 0)),
        (22, 12, (1, *[2] * 10, 1)),
        (95, 12, (7, 9, *[8] * 9, 7)),
    ],
)
def test_layers_are_divided_evenly(layers: int, pipeline: int, wanted: tuple[int, ...]) -> None:
    found = parallel_layout.stages(layers, pipeline)
    assert sum(found) == layers
    assert found == wanted


def test_neighbors_share_a_tensor_group_and_stages_are_contiguous() -> None:
    """Megatron's order "tp-cp-ep-dp-pp", compared with its groups in test_component_layouts."""
    shape = parsed(num_attention_heads=8)
    requested = TrainerParallelism(tensor=2, pipeline=2, context=2, expert=4)
    layout = parallel_layout.plan(requested, shape, 16)
    assert (layout.data, layout.expert_data) == (2, 2)
    within = [
        (p.tensor_rank, p.context_rank, p.data_rank, p.expert_rank, p.expert_data_rank)
        for p in layout.places[:8]
    ]
    assert within == [
        (0, 0, 0, 0, 0),
        (1, 0, 0, 1, 0),
        (0, 1, 0, 2, 0),
        (1, 1, 0, 3, 0),
        (0, 0, 1, 0, 1),
        (1, 0, 1, 1, 1),
        (0, 1, 1, 2, 1),
        (1, 1, 1, 3, 1),
    ]
    assert [p.stage for p in layout.places] == [0] * 8 + [1] * 8
    assert [p.rank for p in layout.places if p.reports] == [8, 10, 12, 14]


def test_qkv_is_grouped_by_key_value_head() -> None:
    place = parallel_layout.plan(TrainerParallelism(), parsed(), 1).place(0)
    rows = [
        (block.tensor.split(".")[-2], block.rows.source, block.rows.target, block.rows.size)
        for block in weight_map.blocks(parsed(num_hidden_layers=1), place)
        if block.parameter.endswith("linear_qkv.weight")
    ][:6]
    assert rows == [
        ("q_proj", 0, 0, 6),
        ("k_proj", 0, 6, 3),
        ("v_proj", 0, 9, 3),
        ("q_proj", 6, 12, 6),
        ("k_proj", 3, 18, 3),
        ("v_proj", 3, 21, 3),
    ]


def test_files_of_an_export_are_bounded_and_named_by_all_ranks_alike() -> None:
    shape = hf_config.parse(json.dumps(QWEN3_235B))
    layout = parallel_layout.plan(REFERENCE, shape, 48)
    limit = 4 << 30
    files = export_files.shards(shape, layout, 2, limit)
    assert max(sum(one.sizes.values()) for one in files) <= limit
    index = export_files.index(files)
    assert index["weight_map"].keys() == weight_map.tensor_shapes(shape).keys()
    assert len(index["weight_map"]) == 36_945
    assert index["metadata"]["total_size"] == pytest.approx(2 * 235.09e9, rel=1e-3)
    turns = Counter((one.rank, one.turn) for one in files)
    assert set(turns.values()) == {1}


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
    ("world", "requested", "changes", "words"),
    [
        (3, {"expert": 2}, {}, "3 processes, no multiple of 2.*parallelism.expert"),
        (4, {"expert": 4}, {"num_experts": 6}, "expert is 4.*model's 6 experts"),
        (6, {"tensor": 3}, {}, "tensor is 3.*model's 4 attention heads"),
        (
            4,
            {"tensor": 4},
            {"num_attention_heads": 12, "num_key_value_heads": 6},
            "neither a divisor nor a multiple of the model's 6 key-value heads",
        ),
        (4, {"tensor": 4}, DENSE | {"intermediate_size": 10}, "10 MLP columns"),
        (4, {"expert": 2, "expert_tensor": 2}, {"moe_intermediate_size": 5}, "5 columns of an exp"),
        (5, {"pipeline": 5}, {}, "pipeline is 5, but the model has 2 layers.*at most 4 stages"),
        (6, {"tensor": 2, "pipeline": 2}, {}, "6 processes, no multiple of 4.*tensor \\* pipeline"),
        (6, {"tensor": 2, "expert": 4}, {}, "6 processes, no multiple of 4.*expert"),
    ],
)
def test_layouts_that_are_refused(
    world: int, requested: dict[str, int], changes: dict[str, object], words: str
) -> None:
    # A whole configuration or changes of one.
    shape = parsed(changes) if "num_hidden_layers" in changes else parsed(**changes)
    with pytest.raises(LayoutError, match=words):
        parallel_layout.plan(TrainerParallelism(**requested), shape, world)


def test_dense_models_have_no_expert_parallelism() -> None:
    """Next to a model with experts in the same job."""
    requested = TrainerParallelism(tensor=2, expert=2)
    layout = parallel_layout.plan(requested, parsed(DENSE), 2)
    assert (layout.expert, layout.expert_tensor) == (1, 2)
