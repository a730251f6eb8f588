"""An engine's answer becomes per-token arrays of the same length, or an error."""

import json
from typing import Any

import pytest

from sea_runtime.rollout import engine_client
from sea_runtime.rollout.engine_client import Generation, MalformedGenerationError
from sea_runtime.rollout.episode_runner import acceptable


def body(
    tokens: int, logprobs: int, spans: list[tuple[str, int, int]], value: float = -0.5
) -> bytes:
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "token_ids": list(range(tokens)),
        "logprobs": {"content": [{"token": "x", "logprob": value}] * logprobs},
        "weight_versions": [{"version": v, "start": a, "end": b} for v, a, b in spans],
    }
    return json.dumps({"request_id": "r", "choices": [choice]}).encode()


def test_spans_become_one_version_per_token() -> None:
    """`default` is the base model, version 0."""
    turn = engine_client.parse_generation(body(4, 4, [("default", 0, 1), ("12", 1, 4)]))
    assert turn == Generation([0, 1, 2, 3], [-0.5] * 4, [0, 12, 12, 12], "stop")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"{}", "can't be read"),
        (b'{"choices": []}', "can't be read"),
        (body(3, 2, [("1", 0, 3)]), "2 log-probabilities for 3 tokens"),
        (body(3, 3, [("1", 0, 2)]), "cover 2 of 3"),
        (body(3, 3, [("1", 0, 1), ("2", 2, 3)]), "gap at 2"),
        (body(3, 3, [("1", 0, 3)], value=0.3), "0.3 is no log-probability"),
        (body(3, 3, [("1", 0, 3)], value=-9999.0), "-9999 is no log-probability"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(answer: bytes, words: str) -> None:
    with pytest.raises(MalformedGenerationError, match=words):
        engine_client.parse_generation(answer)


@pytest.mark.parametrize(
    ("versions", "reason", "required", "expected"),
    [
        ([3, 3], "stop", 3, True),
        ([3, 4], "length", 3, True),
        ([0, 0], "stop", 3, False),
        ([3], "abort", 3, False),
        ([], "stop", 0, False),
    ],
)
def test_turns_of_too_old_weights_are_not_acceptable(
    versions: list[int], reason: str, required: int, expected: bool
) -> None:
    """A restarted engine answers with the base model until it is updated."""
    turn = Generation(versions, [0.0] * len(versions), versions, reason)
    assert acceptable(turn, required) is expected
