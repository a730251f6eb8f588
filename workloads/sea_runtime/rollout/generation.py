"""One answer of an engine to `POST /inference/v1/generate`, read into per-token arrays.

`engine_client` asks; `episode_runner` hands the tokens to the episode. What can't be trained on
(no log-probabilities, a gap between weight versions, other experts than the model has) is refused
here, before it becomes part of a trajectory.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np

MIN_LOGPROB, MAX_LOGPROB = -1000.0, 1e-3
"""Bounds of the log-probability of a token that was drawn, rounding included."""


class MalformedGenerationError(ValueError):
    """The engine's answer lacks tokens, log-probabilities or weight versions."""


@dataclass(frozen=True)
class Generation:
    """Generated tokens; the three lists have the same length."""

    token_ids: list[int]
    logprobs: list[float]
    versions: list[int]
    """The weight version that produced each token."""
    finish_reason: str
    experts: tuple[bytes, ...] = ()
    """The experts that computed each token from the first one asked for to the last but one of
    `token_ids`, as in `Trajectory.experts`; empty unless asked for."""


class _TokenLogprob(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob]


class _Span(msgspec.Struct):
    """Tokens start..end-1 came from one version."""

    version: str
    start: int
    end: int


class _Choice(msgspec.Struct):
    token_ids: list[int]
    finish_reason: str | None
    logprobs: _Logprobs | None = None
    weight_versions: list[_Span] | None = None
    routed_experts: str | None = None
    """Base64 of a .npy file: [tokens, layers, k]."""


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Reply)


class ServedVersion(NamedTuple):
    """The weight version that an engine serves; number 0 is the base model."""

    number: int
    attempt: int = 0
    """Attempt of the trainer that published it."""

    def label(self) -> str:
        """What vLLM calls the weights: in its own state, so that a worker that restarts next to a
        living engine knows both."""
        return f"{self.number}@{self.attempt}"

    @classmethod
    def of(cls, label: str) -> "ServedVersion":
        """Parses vLLM's label; `default` is the base model that it loaded from disk."""
        if label == "default":
            return cls(0)
        number, _, attempt = label.partition("@")
        return cls(int(number), int(attempt or 0))


def versions_of(spans: Sequence[_Span], length: int) -> list[int]:
    """One version per token; raises MalformedGenerationError if spans leave a gap."""
    versions: list[int] = []
    for span in spans:
        if span.start != len(versions):
            raise MalformedGenerationError(f"Weight version spans have a gap at {span.start}.")
        versions += [ServedVersion.of(span.version).number] * (span.end - span.start)
    if len(versions) != length:
        raise MalformedGenerationError(
            f"Weight version spans cover {len(versions)} of {length} tokens."
        )
    return versions


def experts_of(routed: str | None, tokens: int) -> tuple[bytes, ...]:
    """What the routers chose for each of `tokens` tokens; raises MalformedGenerationError."""
    if routed is None:
        raise MalformedGenerationError(
            "The experts that it chose are missing: it was started without rollout.routerReplay."
        )
    try:
        found = np.load(io.BytesIO(base64.b64decode(routed)), allow_pickle=False)
    except (binascii.Error, ValueError, EOFError) as error:
        raise MalformedGenerationError(f"The experts it chose can't be read: {error}.") from error
    if found.ndim != 3 or len(found) != tokens or found.dtype not in ("u1", "<u2"):
        raise MalformedGenerationError(
            f"The experts it chose are {found.dtype} {found.shape} for {tokens} tokens."
        )
    # Megatron counts on as many different experts per token as the model has.
    ordered = np.sort(found, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        raise MalformedGenerationError("It chose one expert twice for a token.")
    return tuple(row.tobytes() for row in found)


def parse_generation(body: bytes, computed: int | None = None) -> Generation:
    """Reads an answer, with the experts if `computed` is given: of so many tokens of the prompt,
    and of all new ones but the last, which no pass has computed.

    Raises MalformedGenerationError for anything that can't be trained on.
    """
    try:
        choice = _decoder.decode(body).choices[0]
    except (msgspec.MsgspecError, IndexError) as error:
        raise MalformedGenerationError(f"The engine's answer can't be read: {error}") from error
    logprobs = [] if choice.logprobs is None else [t.logprob for t in choice.logprobs.content]
    # vLLM may leave log-probabilities out without an error; such tokens can't be trained on.
    if len(logprobs) != len(choice.token_ids):
        raise MalformedGenerationError(
            f"{len(logprobs)} log-probabilities for {len(choice.token_ids)} tokens."
        )
    # vLLM writes -9999 for minus infinity, which no sampled token has.
    odd = next((p for p in logprobs if not MIN_LOGPROB < p <= MAX_LOGPROB), None)
    if odd is not None:
        raise MalformedGenerationError(f"{odd:g} is no log-probability of a token that was drawn.")
    versions = versions_of(choice.weight_versions or [], len(choice.token_ids))
    experts: tuple[bytes, ...] = ()
    if computed is not None and choice.token_ids:
        experts = experts_of(choice.routed_experts, computed + len(choice.token_ids) - 1)
    return Generation(choice.token_ids, logprobs, versions, choice.finish_reason or "", experts)
