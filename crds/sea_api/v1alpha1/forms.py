"""The forms of names, keys and amounts, each a rule with a sentence.

A rule in place of the schema's `pattern`, which the API server answers with the bare expression.
"""

import re
from collections.abc import Callable
from typing import Any

from sea_api.v1alpha1.rules import Rule

_LABEL = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL}"
_RESOURCE = rf"cpu|memory|ephemeral-storage|hugepages-[0-9]+(Ki|Mi|Gi)|[a-z0-9][a-z0-9.-]*/{_LABEL}"


def matching(pattern: str) -> Callable[[Any], bool]:
    """Whether the whole of a text has the form, as RE2 reads `^(?:pattern)$`."""
    # `fullmatch`: Python's `$` also matches before a line break at the end. ASCII: RE2's `\s` is.
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def form(pattern: str, message: str) -> Rule:
    """A text matches `pattern` as a whole; `pattern` is read by Python and by RE2 alike."""
    # Short, since the server's estimate of the cost grows with the length of the expression.
    whole = f"(?:{pattern})" if "|" in pattern else pattern
    return Rule(cel=f"self.matches(r'^{whole}$')", message=message, holds=matching(pattern))


def _keys(pattern: str, message: str) -> Rule:
    matches = matching(pattern)
    return Rule(
        cel=f"self.all(key, key.matches(r'^(?:{pattern})$'))",
        message=message,
        holds=lambda mapping: all(matches(key) for key in mapping),
    )


OBJECT_NAME = form(
    "[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
    "this must be the bare name of an object, in lower case (a-z, 0-9, - and .) and without a"
    " namespace: correct the name",
)

MODEL_NAME = form(
    "[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?",
    "a model's name consists of letters, digits and ., _, / and -, and begins and ends with a"
    " letter or digit: replace blanks and other characters by -",
)

STAGE_NAME = form(
    "[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    "a stage's name consists of a-z, 0-9 and -, since it names a folder: use lower case and - in"
    " place of anything else",
)

REGION = form(
    "[A-Za-z0-9][A-Za-z0-9._-]*",
    "a region consists of letters, digits and ., _ and -, without blanks: correct the name",
)

FILE_KEY = form(
    "[A-Za-z0-9._-]+",
    "a key of a Secret or ConfigMap consists of letters, digits and ., _ and -: correct the name",
)

VARIABLE_NAME = form(
    "[A-Za-z_][A-Za-z0-9_]*",
    "a variable's name consists of letters, digits and _, and begins with no digit: replace other"
    " characters by _",
)

MANAGER = form(
    "[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+",
    "a controller is named DOMAIN/NAME (kueue.x-k8s.io/multikueue): correct the name, or leave it"
    " out for this operator",
)

LABEL_KEY = form(
    _LABEL_KEY,
    "a label's or taint's key is NAME or PREFIX/NAME, where NAME has at most 63 letters, digits,"
    " ., _ and - and PREFIX is a lower-case DNS name: correct the key",
)

LABEL_VALUE = form(
    f"({_LABEL})?",
    "a label's or taint's value has at most 63 letters, digits, ., _ and -, and begins and ends"
    " with a letter or digit: correct the value",
)

LABEL_KEYS = _keys(
    _LABEL_KEY,
    "a key of this map is no label's key, which is NAME or PREFIX/NAME, where NAME has at most 63"
    " letters, digits, ., _ and - and PREFIX is a lower-case DNS name: correct the key",
)

RESOURCE_NAMES = _keys(
    _RESOURCE,
    "a resource is cpu, memory, ephemeral-storage, hugepages-SIZE, or a device as VENDOR/NAME"
    " (rdma/hca), in lower case: correct the name",
)

_AMOUNT = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?"

QUANTITY = Rule(
    # A bare integer is compared with the schema's minimum.
    cel=f"type(self) != string || self.matches(r'^(?:{_AMOUNT})$')",
    message="an amount is a number with one of the suffixes m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi"
    " and Ei or none (500m, 8, 64Gi), not GB or gi: correct the suffix",
    holds=matching(_AMOUNT),
)
