"""The last layer of the tokens that are read gives what the whole layer gives."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import Recomputation

# Megatron takes seconds to import, so it is imported where it runs.
pytestmark = pytest.mark.component

PROMPT = 24
VOCABULARY = 128
CONFIG: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
DENSE = CONFIG | {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "head_dim": 12,
    "tie_word_embeddings": False,
}
EXPERTS = CONFIG | {
    "model_type": "qwen3_moe",
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "norm_topk_prob": True,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    from megatron.core import parallel_state

    from sea_runtime.trainer import megatron_workarounds

    megatron_workarounds.apply(cuda=False, te=False)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def write_model(config: dict[str, Any], folder: Path) -> Any:
    """A random model; returns its shape."""
    from safetensors.torch import save_file

    from sea_runtime.parallel import hf_config, weight_map

    shape = hf_config.parse(json.dumps(config))
    generator = torch.Generator().manual_seed(7)
    sizes = weight_map.tensor_shapes(shape)
    # Norms and biases too: at their initial 1 and 0 a swapped one would not be noticed.
    tensors = {name: 0.2 * torch.randn(size, generator=generator) for name, size in sizes.items()}
    save_file(tensors, folder / "model.safetensors")
    return shape


def build(config: dict[str, Any], folder: Path, recompute: Recomputation) -> Any:
    from sea_runtime.parallel import parallel_layout
    from sea_runtime.trainer import hf_weights, model, process_groups

    shape = write_model(config, folder)
    place = parallel_layout.plan(TrainerParallelism(), shape, 1).place(0)
    process_groups.build_model_parallel_groups(place.layout, 60.0)
    built = model.build(shape, place, torch.float32, row_tokens=900, recompute=recompute)
    hf_weights.load(built, folder)
    return built


def batch(share: bool) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Tokens and masks; of two sequences with one prompt, if `share`, and of a long one."""
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, VOCABULARY, size, np.int32) for size in (90, 70, 420, 12)]
    if share:
        tokens[1][:PROMPT] = tokens[0][:PROMPT]
    masks = [((np.arange(len(one)) // 7) % 3 == 2).astype(np.uint8) for one in tokens]
    for mask in masks[:2]:
        mask[:PROMPT] = 0
    return tokens, masks


def outcome(
    built: Any, tokens: Any, masks: Any, choices: Any
) -> tuple[dict[int, Any], dict[int, Any], dict[str, torch.Tensor]]:
    """Log-probabilities and entropies by sequence, and gradients by parameter."""
    from sea_runtime.trainer import pipeline

    logp: dict[int, Any] = {}
    entropy: dict[int, Any] = {}

    def objective(microbatch: Any, logp_t: torch.Tensor, entropy_t: torch.Tensor) -> torch.Tensor:
        logp.update(microbatch.split(logp_t.detach().numpy()))
        entropy.update(microbatch.split(entropy_t.numpy()))
        weight_t = microbatch.per_token(masks, np.float32)
        return -(weight_t * logp_t * torch.linspace(0.5, 1.5, len(logp_t))).sum() / 100

    built.ddp.zero_grad_buffer()
    plan = built.plan(tokens, range(len(tokens)), masks)
    pipeline.train(
        built, plan, tokens, masks, objective, lambda: None, 0.7, entropy=True, choices=choices
    )
    gradients = {name: one.main_grad.clone() for name, one in built.gpt.named_parameters()}
    return logp, entropy, gradients


def experts(tokens: Any) -> list[NDArray[Any]]:
    """Experts to replay, [S, layers, k], the same for a prompt that is shared."""
    rng = np.random.default_rng(2)
    found = [rng.random((len(one), 2, 4)).argsort(-1)[..., :2].astype(np.uint8) for one in tokens]
    found[1][:PROMPT] = found[0][:PROMPT]
    return found


@pytest.mark.parametrize(
    "recompute", [mode for mode in Recomputation if mode is not Recomputation.AUTO]
)
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("config", [DENSE, EXPERTS], ids=["dense", "experts"])
def test_values_and_gradients_are_those_of_the_whole_layer(
    tmp_path: Path, config: dict[str, Any], share: bool, recompute: Recomputation
) -> None:
    built = build(config, tmp_path, recompute)
    tokens, masks = batch(share)
    assert built.reads
    for choices in [None, experts(tokens)] if config is EXPERTS else [None]:
        got = outcome(built, tokens, masks, choices)
        wanted = outcome(replace(built, reads=False), tokens, masks, choices)
        for ours, theirs in zip(got[:2], wanted[:2], strict=True):
            for index, values in theirs.items():
                np.testing.assert_allclose(ours[index], values, atol=1e-5)
        for name, gradient in wanted[2].items():
            difference = (got[2][name] - gradient).abs().max()
            assert difference < 1e-5 * gradient.abs().max(), name


def test_only_tokens_that_are_read_get_to_the_experts_of_the_last_layer(tmp_path: Path) -> None:
    built = build(EXPERTS, tmp_path, Recomputation.NONE)
    seen: list[int] = []
    for layer in built.gpt.decoder.layers:
        layer.mlp.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    tokens, masks = batch(share=True)
    outcome(built, tokens, masks, None)
    (microbatch,) = built.plan(tokens, range(len(tokens)), masks)
    read = sum(int(mask[1:].sum()) for mask in masks)
    assert seen == [microbatch.lengths[0], read]


def test_a_row_without_tokens_that_are_read_trains_nothing(tmp_path: Path) -> None:
    """The rank takes part in all collectives."""
    built = build(EXPERTS, tmp_path, Recomputation.NONE)
    tokens, masks = batch(share=True)
    logp, _, gradients = outcome(built, tokens, [0 * mask for mask in masks], None)
    assert not any(values.any() for values in logp.values())
    assert not any(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize(
    ("asked", "te", "equal_rows", "wanted"),
    [
        ({}, False, False, True),
        ({"pipeline": 2}, False, False, True),
        ({"tensor": 2}, False, False, False),
        ({"context": 2}, False, False, False),
        ({}, True, False, False),
        ({}, False, True, False),
    ],
)
def test_it_applies_where_a_rank_has_whole_rows(
    tmp_path: Path, asked: dict[str, int], te: bool, equal_rows: bool, wanted: bool
) -> None:
    from sea_runtime.parallel import parallel_layout
    from sea_runtime.trainer import last_layer

    shape = write_model(EXPERTS, tmp_path)
    layout = parallel_layout.plan(TrainerParallelism.model_validate(asked), shape, 2)
    assert last_layer.applies(layout, te=te, equal_rows=equal_rows) is wanted


@pytest.mark.parametrize(
    ("read", "tokens", "wanted"),
    [([1, 5], 8, [1, 5]), ([], 8, [0]), (range(6), 8, [*range(6)]), (range(7), 8, None)],
)
def test_all_tokens_are_computed_where_most_are_read(
    read: Any, tokens: int, wanted: list[int] | None
) -> None:
    from sea_runtime.trainer import last_layer

    assert last_layer.chosen(read, tokens) == wanted
