"""What is read of a configuration: sizes, defaults of the reference library, and sentences."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from sea_data.models import config_fields
from sea_data.models import shape as shapes
from sea_data.models.rope import RopeScaling
from sea_data.models.shape import ModelConfigError

Configs = Mapping[str, dict[str, Any]]
SLIDING = ["sliding_attention"] * 28
ABSENT = object()


def changed(config: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in {**config, **changes}.items() if v is not ABSENT}


@pytest.mark.parametrize(
    ("family", "changes", "attribute", "value"),
    [
        ("moe", {}, "experts", 128),
        ("moe", {"num_experts": ABSENT, "num_local_experts": 64}, "experts", 64),
        ("moe", {"num_local_experts": 128}, "experts", 128),
        ("moe", {"num_experts": 0}, "experts", 0),
        ("moe", {}, "normalize_top_k", True),
        ("moe", {"norm_topk_prob": ABSENT}, "normalize_top_k", False),
        ("qwen3", {}, "head_dim", 128),
        ("qwen3", {"head_dim": ABSENT}, "head_dim", 128),
        ("moe", {"head_dim": ABSENT}, "head_dim", 64),
        ("qwen2", {}, "head_dim", 64),
        ("qwen2", {}, "qkv_bias", True),
        ("qwen2", {}, "qk_norm", False),
        ("qwen3", {}, "qkv_bias", False),
        ("qwen3", {}, "qk_norm", True),
        ("qwen3", {"num_key_value_heads": None}, "kv_heads", 16),
        ("qwen3", {"tie_word_embeddings": ABSENT}, "tied", False),
        ("qwen3", {"rms_norm_eps": ABSENT}, "norm_eps", 1e-6),
        ("qwen3", {}, "rope_theta", 1e6),
        ("qwen3", {"rope_theta": ABSENT}, "rope_theta", 1e4),
        (
            "qwen3",
            {"rope_theta": ABSENT, "rope_parameters": {"rope_theta": 5e6, "rope_type": "default"}},
            "rope_theta",
            5e6,
        ),
        ("qwen3", {"rope_scaling": {"type": "default"}}, "rope_scaling", None),
        ("qwen2", {}, "window", 0),
        ("qwen3", {"use_sliding_window": True}, "window", 0),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 0}, "window", 32768),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 28}, "window", 0),
        ("moe", {"use_sliding_window": True, "sliding_window": 8}, "window", 8),
        (
            "qwen3",
            {"use_sliding_window": True, "sliding_window": 8, "layer_types": SLIDING},
            "window",
            8,
        ),
    ],
)
def test_fields_that_are_used(
    configs: Configs, family: str, changes: dict[str, Any], attribute: str, value: Any
) -> None:
    found = shapes.of_config(changed(configs[family], changes))
    assert getattr(found, attribute) == value


@pytest.mark.parametrize("place", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    ("given", "longest", "attention"),
    [
        ({"rope_type": "linear", "factor": 2}, 81920, 1.0),
        (
            {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32768,
                "beta_fast": None,
            },
            131072,
            1.1386294,
        ),
        (
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32768,
                "attention_factor": 0.7,
            },
            131072,
            0.7,
        ),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
            40960,
            1.0,
        ),
    ],
)
def test_rope_scaling_as_both_releases_write_it(
    configs: Configs, place: str, given: dict[str, Any], longest: int, attention: float
) -> None:
    found = shapes.of_config({**configs["qwen3"], place: given})
    assert isinstance(found.rope_scaling, RopeScaling)
    assert found.rope_scaling.attention_factor == pytest.approx(attention)
    assert found.context == longest
    assert found.rope_theta == 1e6


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("qwen3", {"num_attention_heads": ABSENT}, "lacks 'num_attention_heads'"),
        ("qwen3", {"num_key_value_heads": ABSENT}, "lacks 'num_key_value_heads'"),
        ("qwen3", {"num_attention_heads": "x"}, "num_attention_heads 'x'"),
        ("qwen3", {"hidden_size": 0}, "hidden_size 0"),
        ("qwen3", {"vocab_size": 1.5}, "vocab_size 1.5"),
        ("qwen3", {"rms_norm_eps": "1e-6"}, "rms_norm_eps '1e-6'"),
        ("qwen3", {"tie_word_embeddings": "yes"}, "tie_word_embeddings 'yes'"),
        ("qwen3", {"num_key_value_heads": 3}, "don't divide"),
        ("qwen3", {"head_dim": 127}, "even"),
        ("qwen2", {"head_dim": 128}, "head_dim 128"),
        ("moe", {"num_experts": ABSENT}, "lacks 'num_experts'"),
        ("moe", {"num_local_experts": 64}, "num_experts and num_local_experts"),
        ("moe", {"num_experts_per_tok": 129}, "num_experts_per_tok 129"),
        ("moe", {"num_experts_per_tok": 1}, "num_experts_per_tok 1 and norm_topk_prob true"),
        ("moe", {"moe_intermediate_size": ABSENT}, "lacks 'moe_intermediate_size'"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 0}, "sliding_window 0"),
        (
            "qwen2",
            {"use_sliding_window": True},
            "sliding_window in 7 of 28 layers",
        ),
        ("qwen3", {"layer_types": SLIDING}, "names sliding_attention in layer_types"),
        ("qwen3", {"layer_types": ["full_attention"]}, "one per layer, and there are 28"),
        ("qwen3", {"layer_types": ["linear_attention"] * 28}, "'linear_attention' in layer_types"),
        ("qwen3", {"layer_types": [[]] * 28}, r"\[\] in layer_types"),
        ("qwen3", {"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "'dynamic'"),
        ("qwen3", {"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, "'mrope'"),
        ("qwen3", {"rope_scaling": {"rope_type": "longrope"}}, "'longrope'"),
        ("qwen3", {"rope_scaling": {"factor": 4}}, "factor in its rope settings"),
        ("qwen3", {"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "lack original_max"),
        ("qwen3", {"rope_scaling": {**YARN, "factor": "4"}}, "factor '4'"),
        ("qwen3", {"rope_scaling": {**YARN, "alpha": 1}}, "alpha"),
        ("qwen3", {"rope_scaling": YARN, "rope_parameters": {**YARN, "factor": 2}}, "differ"),
        ("qwen3", {"rope_parameters": {"rope_theta": 5.0}}, "two values of rope_theta"),
        ("qwen3", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("qwen3", {"rope_parameters": {"full_attention": {}}}, "full_attention"),
        ("qwen3", {"rope_scaling": "yarn"}, "must be an object"),
        ("qwen3", {"hidden_act": "gelu", "mlp_bias": True}, "hidden_act.*; mlp_bias"),
    ],
)
def test_what_cannot_be_trained_exactly_is_a_sentence(
    configs: Configs, family: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelConfigError, match=words) as error:
        shapes.of_config(changed(configs[family], changes))
    assert str(error.value).endswith(".")


NASTY: list[Any] = [
    None, True, -1, 0, 1.5, 1e400, -1e400, float("nan"), 10**400, "", "x", [], [[]], [{}], [1],
    {}, {"a": 1}, {"rope_type": []}, {"rope_type": ["yarn"]}, {"rope_type": {}},
    {**YARN, "factor": 1e400}, {**YARN, "factor": float("nan")}, {**YARN, "factor": 10**400},
    {"rope_theta": 1e400}, {"rope_theta": [1]},
]  # fmt: skip
"""What JSON may hold in any field; Python's reader takes Infinity and NaN too."""


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "moe"])
def test_any_value_in_any_field_is_read_or_a_sentence(configs: Configs, family: str) -> None:
    """Infinite sizes and lists of lists ended in a traceback, of the coordinator too."""
    name = configs[family]["architectures"][0]
    read = config_fields.USED | config_fields.FAMILIES[name].used | config_fields.MUST.keys()
    for field in [*sorted(read), "architectures", "model_type", "a_field_of_tomorrow"]:
        for value in NASTY:
            config = {**configs[family], field: value}
            with suppress(ModelConfigError):
                found = shapes.of_config(config)
                assert math.isfinite(found.rope_theta * found.norm_eps * found.context)
            with suppress(ModelConfigError):
                assert shapes.vocabulary(json.dumps(config)) >= -1


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_text_that_is_no_configuration(text: str) -> None:
    with pytest.raises(ModelConfigError, match=r"config\.json"):
        shapes.parse(text)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "moe"])
def test_transformers_reads_the_same_sizes(configs: Configs, family: str) -> None:
    """The defaults of missing fields too: they are the reference library's."""
    from transformers import Qwen2Config, Qwen3Config, Qwen3MoeConfig

    kind: Any = {"qwen2": Qwen2Config, "qwen3": Qwen3Config, "moe": Qwen3MoeConfig}[family]
    optional = {"rms_norm_eps", "tie_word_embeddings", "max_position_embeddings", "rope_theta"}
    if family == "moe":
        optional |= {"norm_topk_prob", "num_experts_per_tok"}
    if family == "qwen3":
        optional |= {"head_dim"}
    for left_out in [set(), optional]:
        given = {k: v for k, v in configs[family].items() if k not in left_out}
        theirs, ours = kind(**given), shapes.parse(json.dumps(given))
        assert ours.norm_eps == theirs.rms_norm_eps
        assert ours.tied == theirs.tie_word_embeddings
        assert ours.context == theirs.max_position_embeddings
        assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
        assert ours.head_dim == getattr(theirs, "head_dim", 64)
        if family == "moe":
            assert ours.normalize_top_k == theirs.norm_topk_prob
            assert ours.experts_per_token == theirs.num_experts_per_tok
            assert ours.experts == theirs.num_experts
