"""The shape of a Qwen2, Qwen3 or Qwen3-MoE model, from its `config.json`. Pure.

Everything that builds a model, maps its weights or checks its files starts here. Defaults of
missing fields are those of transformers' configuration classes, which vLLM reads as well.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sea_data.errors import DataError
from sea_data.models import config_fields, fp8_blocks
from sea_data.models.fp8_blocks import Blocks
from sea_data.models.rope import RopeScaling, is_positive, rope_of

_NO_NUMBER = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What reading a number of JSON of any form raises."""
_LAYER_TYPES = ("full_attention", "sliding_attention")
_MAX_SIZE = 2**31
_MAX_PROBLEMS = 4
"""Shown at once."""


class ModelConfigError(DataError, ValueError):
    """A config.json that can't be trained exactly; the message names the fields."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of one model; `experts` is 0 for a dense model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    """Width of the MLP of a dense model."""
    experts: int
    experts_per_token: int
    expert_ffn: int
    """Width of one expert's MLP."""
    normalize_top_k: bool
    """The router's weights of the chosen experts sum to 1."""
    vocabulary: int
    tied: bool
    """Embedding and output layer share one parameter."""
    rope_theta: float
    norm_eps: float
    context: int
    """Longest sequence in tokens, with rope scaling."""
    qkv_bias: bool = False
    """q, k and v have biases (Qwen2); o has none."""
    qk_norm: bool = True
    """Queries and keys are normalized per head (Qwen3)."""
    rope_scaling: RopeScaling | None = None
    window: int = 0
    """Every token sees this many tokens at most, itself included; 0 is no limit."""
    fp8_blocks: Blocks | None = None
    """Block size of weights that the folder stores as FP8; None if it is not quantized."""

    @property
    def heads_per_group(self) -> int:
        """Query heads that share one key-value head."""
        return self.heads // self.kv_heads


def parse(text: str | bytes) -> ModelShape:
    """Reads the text of a `config.json`.

    Raises:
        ModelConfigError: it names what is missing, or the fields that the trainer doesn't compute.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelConfigError(f"The model's config.json can't be read: {error}.") from error
    if not isinstance(config, dict):
        raise ModelConfigError("The model's config.json is no JSON object: upload it again.")
    return of_config(config)


def vocabulary(text: str | bytes) -> int:
    """Rows of the embedding of any model, also of one that can't be trained.

    Raises ModelConfigError.
    """
    try:
        config = json.loads(text)
        return int((config.get("text_config") or config)["vocab_size"])
    except _NO_NUMBER as error:
        raise ModelConfigError(f"The model's config.json has no vocab_size ({error!r}).") from error


def of_config(config: Mapping[str, Any]) -> ModelShape:
    """As `parse`, for a decoded configuration."""
    found = list(config_fields.problems(config))
    if found:
        shown = "; ".join(found[:_MAX_PROBLEMS])
        more = f"; and {len(found) - _MAX_PROBLEMS} more" if len(found) > _MAX_PROBLEMS else ""
        raise ModelConfigError(f"The model can't be trained exactly: {shown}{more}.")
    return _Reader(config).shape()


class _Reader:
    """Reads fields of one configuration; every method raises ModelConfigError."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._name = config["architectures"][0]

    def shape(self) -> ModelShape:
        heads, hidden = self._size("num_attention_heads"), self._size("hidden_size")
        kv_heads = self._kv_heads(heads)
        longest = self._size("max_position_embeddings", 32768)
        theta, scaling = rope_of(self._config, ModelConfigError)
        shape = ModelShape(
            layers=self._size("num_hidden_layers"),
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=self._head_dim(hidden, heads),
            vocabulary=self._size("vocab_size"),
            tied=self._flag("tie_word_embeddings"),
            rope_theta=theta,
            norm_eps=self._number("rms_norm_eps", 1e-6),
            context=scaling.longest(longest) if scaling else longest,
            qkv_bias=self._name == "Qwen2ForCausalLM",
            qk_norm=self._name != "Qwen2ForCausalLM",
            rope_scaling=scaling,
            fp8_blocks=fp8_blocks.of_config(self._config),
            **self._mlp(),
        )
        return ModelShape(**{**vars(shape), "window": self._window(shape.layers)})

    def _mlp(self) -> dict[str, Any]:
        mixture = self._name == "Qwen3MoeForCausalLM"
        experts = self._experts() if mixture else 0
        if not experts:
            return {
                "ffn": self._size("intermediate_size", 6144 if mixture else None),
                "experts": 0,
                "experts_per_token": 0,
                "expert_ffn": 0,
                "normalize_top_k": True,
            }
        chosen = self._size("num_experts_per_tok", 8)
        if chosen > experts:
            raise ModelConfigError(
                f"config.json has num_experts_per_tok {chosen}, more than its {experts} experts."
            )
        normalized = self._flag("norm_topk_prob")
        if chosen == 1 and normalized:
            raise ModelConfigError(
                "config.json has num_experts_per_tok 1 and norm_topk_prob true: the router's "
                "weight is then always 1, so it could never be trained, and Megatron refuses it."
            )
        return {
            "ffn": self._size("intermediate_size", 6144),
            "experts": experts,
            "experts_per_token": chosen,
            "expert_ffn": self._size("moe_intermediate_size"),
            "normalize_top_k": normalized,
        }

    def _experts(self) -> int:
        """transformers 4 writes `num_experts`, transformers 5 `num_local_experts`."""
        names = [n for n in ("num_local_experts", "num_experts") if self._config.get(n) is not None]
        if not names:
            raise ModelConfigError(
                "The model's config.json lacks 'num_experts' (or 'num_local_experts')."
            )
        # 0 makes every layer dense, in transformers and in vLLM as well.
        counts = {self._size(name, least=0) for name in names}
        if len(counts) > 1:
            raise ModelConfigError(
                "config.json has num_experts and num_local_experts with different values: keep the "
                "right one."
            )
        return counts.pop()

    def _kv_heads(self, heads: int) -> int:
        if "num_key_value_heads" in self._config and self._config["num_key_value_heads"] is None:
            return heads
        # No default: it depends on the release of the library that would read it.
        groups = self._size("num_key_value_heads")
        if heads % groups:
            raise ModelConfigError(
                f"config.json has {heads} num_attention_heads, which {groups} num_key_value_heads "
                "don't divide."
            )
        return groups

    def _head_dim(self, hidden: int, heads: int) -> int:
        given = self._config.get("head_dim")
        if given is None and self._name == "Qwen3ForCausalLM":
            return 128
        if given is None and hidden % heads:
            raise ModelConfigError(
                f"config.json has hidden_size {hidden}, which {heads} num_attention_heads don't "
                "divide, and no head_dim."
            )
        found = hidden // heads if given is None else self._size("head_dim")
        if self._name == "Qwen2ForCausalLM" and found * heads != hidden:
            raise ModelConfigError(
                f"config.json has head_dim {found}: the engine computes a Qwen2 model with "
                f"hidden_size / num_attention_heads, {hidden / heads:g}."
            )
        if found % 2 and found > 4:  # transformers allows odd heads in test models
            raise ModelConfigError(f"config.json has head_dim {found}: rope needs an even one.")
        return found

    def _window(self, layers: int) -> int:
        """The sliding window that all layers have; 0 if none has one."""
        window = self._config.get("sliding_window") if self._flag("use_sliding_window") else None
        given = self._layer_types(layers)
        if window is None:
            if "sliding_attention" in (given or ()):
                raise ModelConfigError(
                    "config.json names sliding_attention in layer_types, but use_sliding_window is "
                    "false: correct one of them."
                )
            return 0
        size = self._size("sliding_window")
        if self._name == "Qwen3MoeForCausalLM":  # transformers: all layers, whatever else is said
            return size
        first = self._config.get("max_window_layers", 28)
        if not isinstance(first, int):
            raise ModelConfigError(
                f"config.json has max_window_layers {first!r}: it must be a whole number."
            )
        full = first if given is None else sum(kind == "full_attention" for kind in given)
        if full >= layers:
            return 0
        if full > 0:
            raise ModelConfigError(
                f"config.json has a sliding_window in {layers - full} of {layers} layers, which "
                "the engine doesn't serve: set max_window_layers to 0 (all layers) or "
                "use_sliding_window to false (none), as the model was trained."
            )
        return size

    def _layer_types(self, layers: int) -> list[Any] | None:
        """As transformers reads them, which refuses a list of another length."""
        given = self._config.get("layer_types")
        if given is None:
            return None
        if not isinstance(given, list) or len(given) != layers:
            raise ModelConfigError(
                f"config.json has layer_types {given!r:.60}: it must be a list, one per layer, "
                f"and there are {layers}."
            )
        other = next((kind for kind in given if kind not in _LAYER_TYPES), None)
        if other is not None:
            raise ModelConfigError(
                f"config.json has {other!r} in layer_types, which the trainer doesn't compute: it "
                f"computes {' and '.join(sorted(_LAYER_TYPES))}."
            )
        return given

    def _size(self, field: str, default: int | None = None, *, least: int = 1) -> int:
        value = self._config.get(field, default)
        if value is None and field not in self._config:
            raise ModelConfigError(f"The model's config.json lacks '{field}'.")
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
            # Also of infinity and NaN, whose remainder is NaN.
            raise ModelConfigError(f"config.json has {field} {value!r}: it must be a whole number.")
        if not least <= value < _MAX_SIZE:
            raise ModelConfigError(
                f"config.json has {field} {value}: it must be at least {least} and below 2**31."
            )
        return int(value)

    def _number(self, field: str, default: float) -> float:
        value = self._config.get(field, default)
        if not is_positive(value):
            raise ModelConfigError(
                f"config.json has {field} {value!r}: it must be a number above 0."
            )
        return float(value)

    def _flag(self, field: str) -> bool:
        value = self._config.get(field, False)
        if value is not None and not isinstance(value, bool):
            raise ModelConfigError(f"config.json has {field} {value!r}: it must be true or false.")
        return bool(value)
