"""Frequencies of scaled rotary embeddings have the bits of the reference library's."""

from typing import Any

import pytest
import torch

from sea_data.models import shape as shapes
from sea_runtime.trainer import rope

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": 64,
    "hidden_size": 64,
    "intermediate_size": 64,
    "max_position_embeddings": 32768,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "vocab_size": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize("theta", [1e4, 1e6])
@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "linear", "factor": 4.0},
        LLAMA3,
        LLAMA3 | {"original_max_position_embeddings": 256, "high_freq_factor": 3.0},
        YARN,
        YARN | {"factor": 2.5, "original_max_position_embeddings": 128},
        YARN | {"beta_fast": 16.0, "beta_slow": 2.0, "truncate": False},
        YARN | {"attention_factor": 0.8},
        YARN | {"mscale": 1.0, "mscale_all_dim": 0.7},
    ],
)
def test_frequencies_equal_transformers_bit_for_bit(scaling: dict[str, Any], theta: float) -> None:
    from transformers import Qwen3Config
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    given = {**CONFIG, "rope_parameters": {**scaling, "rope_theta": theta}}
    theirs, attention = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](Qwen3Config(**given))
    shape = shapes.of_config(given)
    assert shape.rope_scaling is not None
    ours = rope.inverse_frequencies(shape.rope_scaling, shape.rope_theta, shape.head_dim)
    assert torch.equal(ours, theirs)
    assert shape.rope_scaling.attention_factor == attention
    wanted = None if attention == 1.0 else pytest.approx(attention**2 / 8)
    assert rope.softmax_scale(shape) == wanted
