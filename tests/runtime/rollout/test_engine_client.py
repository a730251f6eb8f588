"""An engine's answer becomes per-token arrays of the same length, or an error."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest

from sea_runtime.rollout import engine_client
from sea_runtime.rollout.engine_client import Generation, MalformedGenerationError, ServedVersion
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
    turn = engine_client.parse_generation(body(4, 4, [("default", 0, 1), ("12@3", 1, 4)]))
    assert turn == Generation([0, 1, 2, 3], [-0.5] * 4, [0, 12, 12, 12], "stop")


@pytest.mark.parametrize("served", [ServedVersion(0), ServedVersion(12, 3)])
def test_an_engine_knows_who_published_what_it_serves(served: ServedVersion) -> None:
    """A number alone would not say: training that went back comes to it again."""
    assert ServedVersion.of(served.label()) == served
    assert ServedVersion.of("default") == ServedVersion(0, 0)


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


def with_experts(experts: Any) -> bytes:
    """An answer of three tokens to a prompt, with the experts as vLLM writes them."""
    answer = json.loads(body(3, 3, [("1", 0, 3)]))
    if experts is not None:
        file = io.BytesIO()
        np.save(file, experts)
        experts = base64.b64encode(file.getvalue()).decode()
    answer["choices"][0]["routed_experts"] = experts
    return json.dumps(answer).encode()


def test_an_answer_names_the_experts_of_every_token_that_was_computed() -> None:
    """Of two tokens of the prompt and of the first two of three new ones, in three layers."""
    chosen = np.argsort(np.random.default_rng(0).random((4, 3, 8)), axis=-1)[..., :2]
    turn = engine_client.parse_generation(with_experts(chosen.astype(np.uint8)), computed=2)
    assert np.frombuffer(b"".join(turn.experts), np.uint8).tolist() == chosen.ravel().tolist()
    assert len(turn.experts) == 4
    many = engine_client.parse_generation(with_experts(chosen.astype(np.uint16) + 300), computed=2)
    assert {len(one) for one in many.experts} == {3 * 2 * 2}
    # Nobody asked.
    assert engine_client.parse_generation(with_experts(chosen.astype(np.uint8))).experts == ()


@pytest.mark.parametrize(
    ("experts", "words"),
    [
        (None, "started without rollout.routerReplay"),
        (np.zeros((3, 2, 1), np.uint8), r"uint8 \(3, 2, 1\) for 4 tokens"),
        (np.zeros((4, 2), np.uint8), "for 4 tokens"),
        (np.zeros((4, 2, 1), np.float32), "float32"),
        (np.full((4, 2, 2), 5, np.uint8), "one expert twice"),
    ],
)
def test_experts_that_cannot_be_replayed_are_refused(experts: Any, words: str) -> None:
    with pytest.raises(MalformedGenerationError, match=words):
        engine_client.parse_generation(with_experts(experts), computed=2)


def test_experts_that_are_no_array_are_refused() -> None:
    broken = json.loads(with_experts(None))
    broken["choices"][0]["routed_experts"] = "AAAA"
    with pytest.raises(MalformedGenerationError, match="can't be read"):
        engine_client.parse_generation(json.dumps(broken).encode(), computed=2)


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
