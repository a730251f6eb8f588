"""An engine's answer to `POST /inference/v1/generate`, as per-token arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec


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


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Reply)


def version_number(text: str) -> int:
    """vLLM's label of the served weights; `default` is the base model it loaded from disk."""
    return 0 if text == "default" else int(text)


def versions_of(spans: Sequence[_Span], length: int) -> list[int]:
    """One version per token; raises MalformedGenerationError if spans leave a gap."""
    versions: list[int] = []
    for span in spans:
        if span.start != len(versions):
            raise MalformedGenerationError(f"Weight version spans have a gap at {span.start}.")
        versions += [version_number(span.version)] * (span.end - span.start)
    if len(versions) != length:
        raise MalformedGenerationError(
            f"Weight version spans cover {len(versions)} of {length} tokens."
        )
    return versions


def parse(body: bytes) -> Generation:
    """Raises MalformedGenerationError for anything that can't be trained on."""
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
    versions = versions_of(choice.weight_versions or [], len(choice.token_ids))
    return Generation(choice.token_ids, logprobs, versions, choice.finish_reason or "")
