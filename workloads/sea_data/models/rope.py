"""Rotary position embeddings as a `config.json` describes them. Pure.

`shape` reads them with `rope_of`; `trainer/rope.py` computes their frequencies. transformers 4
writes `rope_theta` and `rope_scaling`, transformers 5 `rope_parameters`.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

_DEFAULT_THETA = 10000.0
_SCALED: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "linear": (frozenset({"factor"}), frozenset()),
    "llama3": (
        frozenset(
            {
                "factor",
                "high_freq_factor",
                "low_freq_factor",
                "original_max_position_embeddings",
            }
        ),
        frozenset(),
    ),
    "yarn": (
        frozenset({"factor", "original_max_position_embeddings"}),
        frozenset(
            {
                "attention_factor",
                "beta_fast",
                "beta_slow",
                "mscale",
                "mscale_all_dim",
                "truncate",
            }
        ),
    ),
}
"""(required, optional) numbers by type of scaling."""
_KNOWN = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})


@dataclass(frozen=True)
class RopeScaling:
    """How a model's context was extended beyond what it was first trained for."""

    kind: str
    """linear, llama3 or yarn."""
    factor: float
    original: int
    """Tokens of the context before; 0 for linear."""
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0
    """Queries and keys are both multiplied by it after the rotation."""
    truncate: bool = True
    """YaRN rounds the range of dimensions that it interpolates."""

    def longest(self, trained: int) -> int:
        """Tokens of the longest sequence; `trained` is `max_position_embeddings`.

        As vLLM bounds --max-model-len.
        """
        if self.kind == "yarn":
            return int(self.original * self.factor)
        return int(trained * self.factor) if self.kind == "linear" else trained


Refusal = Callable[[str], Exception]


def rope_of(config: Mapping[str, Any], refusal: Refusal) -> tuple[float, RopeScaling | None]:
    """(theta, scaling) of a configuration.

    Raises:
        What `refusal` makes of a sentence that names the field.
    """
    old, new = config.get("rope_scaling") or {}, config.get("rope_parameters") or {}
    for name, value in (("rope_scaling", old), ("rope_parameters", new)):
        if not isinstance(value, Mapping):
            raise refusal(f"config.json has {name} {value!r}: it must be an object.")
    if old and new and _comparable(old) != _comparable(new):
        raise refusal(
            "config.json has rope_scaling and rope_parameters that differ: releases of "
            "transformers read one or the other, so keep the right one."
        )
    given = old or new
    theta = _theta(config, given, new, refusal)
    return theta, _scaling(given, refusal)


def _comparable(given: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in given.items() if k not in {"type", "rope_theta"} and v is not None}
    return {**kept, "rope_type": _type(given)}


def _type(given: Mapping[str, Any]) -> Any:
    return given.get("rope_type") or given.get("type") or "default"


def _theta(
    config: Mapping[str, Any], given: Mapping[str, Any], new: Mapping[str, Any], refusal: Refusal
) -> float:
    places = (given.get("rope_theta"), new.get("rope_theta"), config.get("rope_theta"))
    found = [value for value in places if value is not None]
    if not all(map(is_positive, found)):
        raise refusal(f"config.json has rope_theta {found[0]!r}: it must be a number above 0.")
    if len({float(value) for value in found}) > 1:
        raise refusal(
            "config.json has two values of rope_theta, one of them in rope_parameters: keep the "
            "right one."
        )
    return float(found[0]) if found else _DEFAULT_THETA


def is_positive(value: Any) -> bool:
    """True for a number above 0 that a float can hold: JSON has any, Python's reader infinity."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value <= sys.float_info.max


def _scaling(given: Mapping[str, Any], refusal: Refusal) -> RopeScaling | None:
    kind = _type(given)
    known = ", ".join(_SCALED)
    if not isinstance(kind, str) or (kind != "default" and kind not in _SCALED):
        raise refusal(
            f"config.json has rope_type {kind!r} (rope_scaling or rope_parameters): the trainer "
            f"computes default, {known}."
        )
    if given.get("partial_rotary_factor", 1) not in (None, 1):
        raise refusal("config.json has a partial_rotary_factor, but the trainer rotates all of it.")
    required, optional = _SCALED.get(kind, (frozenset(), frozenset()))
    # transformers writes the numbers of other types as null.
    values = {k: v for k, v in given.items() if k not in _KNOWN and v is not None}
    unknown = sorted(values.keys() - required - optional)
    if unknown:
        raise refusal(
            f"config.json has {unknown[0]} in its rope settings, which means nothing for the type "
            f"{kind}: remove it, or correct rope_type."
        )
    if missing := sorted(required - values.keys()):
        raise refusal(f"config.json's rope settings of type {kind} lack {missing[0]}.")
    return _of_numbers(kind, values, refusal) if kind in _SCALED else None


def _of_numbers(kind: str, values: Mapping[str, Any], refusal: Refusal) -> RopeScaling:
    def bad(name: str) -> NoReturn:
        raise refusal(f"config.json has {name} {values[name]!r} in its rope settings.")

    for name, value in values.items():
        if name == "truncate":
            if not isinstance(value, bool):
                bad(name)
        elif not is_positive(value):
            bad(name)
    number = {k: float(v) for k, v in values.items() if k != "truncate"}
    if kind == "llama3" and number["low_freq_factor"] >= number["high_freq_factor"]:
        bad("low_freq_factor")
    return RopeScaling(
        kind,
        number["factor"],
        int(number.get("original_max_position_embeddings", 0)),
        number.get("low_freq_factor", 1.0),
        number.get("high_freq_factor", 4.0),
        number.get("beta_fast", 32.0),
        number.get("beta_slow", 1.0),
        _attention_factor(kind, number),
        values.get("truncate", True),
    )


def _attention_factor(kind: str, number: Mapping[str, float]) -> float:
    """YaRN (arXiv 2309.00071, section 3.4): 0.1 ln(factor) + 1 unless the model says otherwise."""
    if kind != "yarn":
        return 1.0
    if "attention_factor" in number:
        return number["attention_factor"]
    factor = number["factor"]
    if "mscale" in number and "mscale_all_dim" in number:
        return _mscale(factor, number["mscale"]) / _mscale(factor, number["mscale_all_dim"])
    return _mscale(factor, 1.0)


def _mscale(factor: float, scale: float) -> float:
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
