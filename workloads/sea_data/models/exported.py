"""What a trained folder takes over from the model that it was trained from. Pure.

`trainer/export.py` writes it: configuration for every reader, all other files as they are, no file
with the old weights.
"""

import json
from typing import Any

from sea_data.models.rope import RopeScaling, rope_of
from sea_data.models.shape import ModelConfigError

_WEIGHTS = (".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".pt", ".pth", ".safetensors")
_NOT_COPIED = ("adapter_config.json", "READY.json", ".complete")
_MIXTURE = ("num_experts", "num_local_experts")


def is_copied(name: str) -> bool:
    """True for a file of the initial folder that is as true of the trained model.

    False for weights in any format and their indexes: transformers and vLLM would load them in
    place of the trained ones, or next to them.
    """
    return not name.endswith((*_WEIGHTS, ".index.json")) and name not in _NOT_COPIED


def configuration(text: str, dtype: str) -> str:
    """The initial model's config.json for weights in `dtype` (bfloat16, float32).

    Readable alike by transformers 4.51 and 5 and by vLLM: each field that they spell differently is
    written in both ways.
    """
    config: dict[str, Any] = json.loads(text)
    for name in ("quantization_config", "compression_config"):
        config.pop(name, None)  # the exported weights are not quantized
    config["torch_dtype"] = config["dtype"] = dtype
    count = next((config[name] for name in _MIXTURE if config.get(name) is not None), None)
    if count is not None:
        config.update(dict.fromkeys(_MIXTURE, count))
    theta, scaling = rope_of(config, ModelConfigError)
    config["rope_theta"] = theta
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    numbers = {k: v for k, v in given.items() if k not in {"type", "rope_type", "rope_theta"}}
    kind = scaling.kind if scaling else "default"
    config["rope_parameters"] = {"rope_type": kind, "rope_theta": theta, **numbers}
    config["rope_scaling"] = {"rope_type": kind, **numbers} if scaling else None
    _extend(config, scaling)
    return json.dumps(config, indent=2) + "\n"


def generation(text: str, end_of_turn: int, *, only_ends: bool = False) -> str | None:
    """generation_config.json with the end of a turn among the tokens that end an answer.

    None if it is there already, and the initial model's file stays as it is. Folders of base models
    name the end of a document alone: whoever serves what was trained from one (vLLM too) would let
    it go on after its turn and write the customer's.

    Args:
        text: the initial model's settings.
        end_of_turn: id of the token that the job's own engines stop at.
        only_ends: take nothing else from `text`, which is config.json's.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = {}
    config = config if isinstance(config, dict) else {}
    given = config.get("eos_token_id")
    ends = given if isinstance(given, list) else [] if given is None else [given]
    if end_of_turn in ends:
        return None
    kept = {} if only_ends else config
    return json.dumps({**kept, "eos_token_id": [end_of_turn, *ends]}, indent=2) + "\n"


def _extend(config: dict[str, Any], scaling: RopeScaling | None) -> None:
    """transformers 4.51 takes YaRN's factor from max_position_embeddings / original."""
    if scaling is not None and scaling.kind == "yarn":
        config["max_position_embeddings"] = scaling.longest(0)
