"""What the trainer reads from a Hugging Face `config.json`: the shape of a Qwen3(-MoE) model. Pure.

Everything that builds a model or maps its weights starts here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.trainer import TRAINABLE


class ModelError(RuntimeFailure):
    """The model's files can't be trained as they are."""


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
    """Longest sequence in tokens."""

    @property
    def heads_per_group(self) -> int:
        """Query heads that share one key-value head."""
        return self.heads // self.kv_heads


def _rope_theta(config: Mapping[str, Any]) -> float:
    """transformers 5 writes `rope_parameters`, earlier releases `rope_theta`."""
    parameters = config.get("rope_parameters") or {}
    scaling = parameters.get("rope_type", "default")
    if scaling != "default" or config.get("rope_scaling"):
        raise ModelError(
            f"config.json asks for rope scaling ({scaling}), which the trainer doesn't implement: "
            "use a model without it."
        )
    return float(parameters.get("rope_theta", config.get("rope_theta", 10000.0)))


def load(folder: Path) -> ModelShape:
    """Reads the model folder's `config.json`. Raises as `parse`."""
    try:
        return parse((folder / "config.json").read_bytes())
    except FileNotFoundError as error:
        raise ModelError(
            "The model folder has no config.json: point model.source to a Hugging Face folder."
        ) from error


def parse(text: str | bytes) -> ModelShape:
    """Reads the text of a `config.json`.

    Raises:
        ModelError: it names an architecture or a feature that the trainer doesn't support, or what
            is missing.
    """
    try:
        config: dict[str, Any] = json.loads(text)
        _require_supported(config)
        return _shape(config)
    except KeyError as error:
        raise ModelError(f"The model's config.json lacks {error}.") from error
    except ValueError as error:
        raise ModelError(f"The model's config.json can't be read: {error}.") from error


def _require_supported(config: Mapping[str, Any]) -> None:
    names = config.get("architectures") or ["(none)"]
    if names[0] not in TRAINABLE:
        raise ModelError(
            f"The trainer can't train {names[0]}: config.json must name one of "
            f"{', '.join(TRAINABLE)} in `architectures`."
        )
    if config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers"):
        raise ModelError("The trainer needs experts in every layer (decoder_sparse_step 1).")


def _shape(config: Mapping[str, Any]) -> ModelShape:
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    return ModelShape(
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads", heads)),
        head_dim=int(config.get("head_dim") or hidden // heads),
        ffn=int(config.get("intermediate_size") or 4 * hidden),
        experts=int(config.get("num_experts") or 0),
        experts_per_token=int(config.get("num_experts_per_tok") or 0),
        expert_ffn=int(config.get("moe_intermediate_size") or 0),
        normalize_top_k=bool(config.get("norm_topk_prob", True)),
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope_theta=_rope_theta(config),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        context=int(config.get("max_position_embeddings", 32768)),
    )
