"""Every field of a `config.json`: used, must have one value, or irrelevant. Pure.

A field that changes what a model computes and that nobody reads would train and score silently
wrong, so a field that isn't in these tables is refused. The tables hold what transformers 4 and 5
write for Qwen2, Qwen3 and Qwen3-MoE, and what publishers and fine-tuning tools add.
`shape.parse` asks for `problems` first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sea_data.models import fp8_blocks

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Must:
    """The only values of a field under which the trainer computes what the model means."""

    values: tuple[Any, ...]
    otherwise: str
    """What another value asks for, or what to do."""

    def accepts(self, value: Any) -> bool:
        # True == 1 in Python, but a flag that is written as a number is still the same flag.
        return any(value == one for one in self.values)


@dataclass(frozen=True)
class Family:
    """One architecture: the fields that only it has."""

    model_type: str
    used: frozenset[str]
    must: Mapping[str, Must]


_OFF: tuple[Any, ...] = (None, False, 0, [], {}, "")
_DROPOUT = Must((None, 0), "the trainer applies no dropout")
_BIAS = "biases that neither Megatron's layers nor the engine have"

USED = frozenset(
    {
        "architectures",
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "quantization_config",
        "rms_norm_eps",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "sliding_window",
        "tie_word_embeddings",
        "use_sliding_window",
        "vocab_size",
    }
)

MUST: Mapping[str, Must] = {
    "hidden_act": Must(("silu",), "the trainer's and the engine's MLP use SiLU"),
    "attention_dropout": _DROPOUT,
    "hidden_dropout": _DROPOUT,
    "embd_pdrop": _DROPOUT,
    "resid_pdrop": _DROPOUT,
    "mlp_bias": Must(_OFF, _BIAS),
    "partial_rotary_factor": Must((None, 1), "every dimension of a head is rotated"),
    "compression_config": Must(
        _OFF, "the folder is compressed: name the one with BF16 weights in model.source"
    ),
    "auto_map": Must(_OFF, "the model needs code of its own, which nothing here runs"),
    "use_mrope": Must(_OFF, "multimodal positions"),
    "is_encoder_decoder": Must(_OFF, "the trainer needs a decoder"),
    "add_cross_attention": Must(_OFF, "the trainer needs a decoder"),
    "cross_attention_hidden_size": Must(_OFF, "the trainer needs a decoder"),
    "tie_encoder_decoder": Must(_OFF, "the trainer needs a decoder"),
    "pruned_heads": Must(_OFF, "heads are missing in the weights"),
    "num_nextn_predict_layers": Must(_OFF, "layers for multi-token prediction"),
}

IRRELEVANT = frozenset(
    {
        # Names and origins.
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_commit_hash",
        "_name_or_path",
        "attn_implementation",
        "experts_implementation",
        "finetuning_task",
        "id2label",
        "label2id",
        "license",
        "prefix",
        "problem_type",
        "task_specific_params",
        "tokenizer_class",
        "transformers_version",
        "unsloth_fixed",
        "unsloth_version",
        # The dtype on disk: the job's model.precision decides.
        "dtype",
        "torch_dtype",
        "use_bfloat16",
        # Initialization of a model that is trained from scratch.
        "initializer_range",
        # How a program runs the same function.
        "chunk_size_feed_forward",
        "gradient_checkpointing",
        "is_decoder",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "pretraining_tp",
        "return_dict",
        "tf_legacy_loss",
        "torchscript",
        "use_cache",
        # The trainer adds no auxiliary loss: its gradient isn't in the job's objective.
        "router_aux_loss_coef",
        # Token ids: the tokenizer's and the generation configuration's are used.
        "bos_token_id",
        "decoder_start_token_id",
        "eos_token_id",
        "pad_token_id",
        "sep_token_id",
        # Defaults of generation that transformers 4 wrote into config.json.
        "bad_words_ids",
        "begin_suppress_tokens",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "length_penalty",
        "max_length",
        "max_new_tokens",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_scores",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict_in_generate",
        "suppress_tokens",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    }
)

_WINDOWS = frozenset({"layer_types", "max_window_layers"})
_NO_ATTENTION_BIAS = {"attention_bias": Must(_OFF, _BIAS), "qkv_bias": Must(_OFF, _BIAS)}

FAMILIES: Mapping[str, Family] = {
    "Qwen3MoeForCausalLM": Family(
        "qwen3_moe",
        _WINDOWS
        | {
            "head_dim",
            "moe_intermediate_size",
            "norm_topk_prob",
            "num_experts",
            "num_experts_per_tok",
            "num_local_experts",
        },
        {
            **_NO_ATTENTION_BIAS,
            "decoder_sparse_step": Must((None, 1), "the trainer needs experts in every layer"),
            "mlp_only_layers": Must(_OFF, "the trainer needs experts in every layer"),
            "shared_expert_intermediate_size": Must(_OFF, "shared experts"),
            "num_shared_experts": Must(_OFF, "shared experts"),
            "router_jitter_noise": Must(_OFF, "noise in the router"),
        },
    ),
    "Qwen3ForCausalLM": Family("qwen3", _WINDOWS | {"head_dim"}, _NO_ATTENTION_BIAS),
    "Qwen2ForCausalLM": Family(
        "qwen2",
        _WINDOWS | {"head_dim"},
        # transformers and vLLM build biases of q, k and v whatever the field says.
        {
            "attention_bias": Must((None, True), "a Qwen2 model always has biases of q, k and v"),
            "qkv_bias": Must((None, True), "a Qwen2 model always has biases of q, k and v"),
        },
    ),
}
"""What the trainer can train, by the name in `architectures`."""


def problems(config: Config) -> Iterator[str]:
    """What the trainer would compute differently from the model; each names its field.

    Complete clauses without a period; nothing for a configuration that is computed exactly.
    """
    names = config.get("architectures")
    named = names[0] if isinstance(names, list) and names else None
    first = named if isinstance(named, str) else "(none)"
    family = FAMILIES.get(first)
    if family is None:
        yield (
            f"the trainer can't train {first}, only {', '.join(FAMILIES)} (`architectures` in "
            "config.json)"
        )
        return
    kind = config.get("model_type", family.model_type)
    if kind != family.model_type:
        yield f"model_type is {kind!r}, but {first} is a {family.model_type!r}"
    yield from fp8_blocks.problems(config.get("quantization_config"))
    for field, value in config.items():
        yield from _of_field(family, field, value)


def _of_field(family: Family, field: str, value: Any) -> Iterator[str]:
    if field in USED or field in family.used or field in IRRELEVANT or field == "model_type":
        return
    must = family.must.get(field, MUST.get(field))
    if must is None:
        # A field of a newer release or of a fork: it may change the function.
        if value is not None:
            yield (
                f"{field} is {_shown(value)}, a field of which the trainer doesn't know what it "
                "changes: remove it if it changes nothing"
            )
    elif not must.accepts(value):
        yield f"{field} is {_shown(value)}, which the trainer doesn't compute ({must.otherwise})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
