"""Every field of a configuration is used, must have one value, or is irrelevant."""

from collections.abc import Mapping
from typing import Any

import pytest

from sea_data.models import config_fields

Configs = Mapping[str, dict[str, Any]]

TRANSFORMERS_4 = """
_attn_implementation_autoset _name_or_path add_cross_attention architectures bad_words_ids
begin_suppress_tokens bos_token_id chunk_size_feed_forward cross_attention_hidden_size
decoder_start_token_id diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id
forced_eos_token_id id2label is_decoder is_encoder_decoder label2id length_penalty max_length
min_length model_type no_repeat_ngram_size num_beam_groups num_beams num_return_sequences
output_attentions output_hidden_states output_scores pad_token_id prefix problem_type pruned_heads
remove_invalid_values repetition_penalty return_dict return_dict_in_generate sep_token_id
suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder
tie_word_embeddings tokenizer_class top_k top_p torch_dtype torchscript typical_p use_bfloat16
"""
"""What `PretrainedConfig.to_dict` of transformers 4.51 has for every model."""


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "moe"])
def test_published_configurations_are_computed_exactly(configs: Configs, family: str) -> None:
    assert list(config_fields.problems(configs[family])) == []


def test_every_field_that_transformers_4_writes_is_in_a_table() -> None:
    names = set(TRANSFORMERS_4.split()) - {"model_type"}
    assert names <= config_fields.USED | config_fields.IRRELEVANT | config_fields.MUST.keys()


def test_every_field_that_transformers_5_writes_is_in_a_table() -> None:
    from transformers import Qwen2Config, Qwen3Config, Qwen3MoeConfig

    for kind in (Qwen2Config, Qwen3Config, Qwen3MoeConfig):
        name = kind.__name__.replace("Config", "ForCausalLM")
        written = {**kind().to_dict(), "architectures": [name]}
        assert list(config_fields.problems(written)) == [], name


def test_no_field_is_in_two_tables() -> None:
    assert not config_fields.USED & config_fields.IRRELEVANT
    assert not (config_fields.USED | config_fields.IRRELEVANT) & config_fields.MUST.keys()
    for family in config_fields.FAMILIES.values():
        assert not family.used & (config_fields.USED | config_fields.IRRELEVANT)
        assert not family.used & family.must.keys()


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("qwen3", "hidden_act", "gelu"),
        ("qwen3", "hidden_act", "swish"),
        ("qwen3", "attention_bias", True),
        ("moe", "attention_bias", True),
        ("qwen2", "attention_bias", False),
        ("qwen3", "attention_dropout", 0.1),
        ("qwen3", "mlp_bias", True),
        ("qwen3", "partial_rotary_factor", 0.5),
        ("qwen3", "quantization_config", {"quant_method": "fp8"}),
        ("qwen2", "quantization_config", {"quant_method": "awq", "bits": 4}),
        ("qwen3", "auto_map", {"AutoModelForCausalLM": "modeling.Mine"}),
        ("qwen3", "dual_chunk_attention_config", {"chunk_size": 262144}),
        ("qwen2", "use_mrope", True),
        ("moe", "decoder_sparse_step", 2),
        ("moe", "mlp_only_layers", [0]),
        ("moe", "shared_expert_intermediate_size", 512),
        ("moe", "num_nextn_predict_layers", 1),
        ("qwen3", "num_experts", 8),
        ("qwen3", "a_field_of_tomorrow", 3),
        ("qwen3", "model_type", "qwen3_moe"),
        ("moe", "model_type", "qwen3"),
        ("qwen3", "architectures", ["LlamaForCausalLM"]),
        ("qwen3", "architectures", []),
        ("qwen3", "architectures", "Qwen3ForCausalLM"),
    ],
)
def test_what_the_trainer_would_compute_differently_is_named(
    configs: Configs, family: str, field: str, value: Any
) -> None:
    found = list(config_fields.problems({**configs[family], field: value}))
    assert len(found) == 1
    assert field in found[0]


@pytest.mark.parametrize("field", ["mlp_bias", "quantization_config", "a_field_of_tomorrow"])
def test_a_field_that_is_null_changes_nothing(configs: Configs, field: str) -> None:
    assert list(config_fields.problems({**configs["qwen3"], field: None})) == []
