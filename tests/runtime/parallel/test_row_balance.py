"""Rows of equal work: bounded by tokens, balanced by a n + b n^2."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.parallel import hf_config
from sea_runtime.parallel.row_balance import SequenceWork, balance

QWEN3_235B = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 94,
    "hidden_size": 4096,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 1536,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize(
    ("lengths", "count", "capacity", "wanted"),
    [
        # 20 against 24: by tokens it would be 4 against 8.
        ([4, 2, 2, 2, 2], 2, 8, [[1, 2, 3, 4], [0]]),
        ([3, 3, 3, 3], 2, 6, [[0, 2], [1, 3]]),
        # A longer sequence than the capacity has a row of its own.
        ([9, 1, 1], 2, 4, [[0], [1, 2]]),
        ([5], 2, 8, [[0], []]),
        ([], 2, 8, [[], []]),
        ([0, 0], 1, 8, [[0, 1]]),
        # No room: more rows are needed.
        ([3, 3, 3], 1, 6, None),
        ([9, 9], 1, 4, None),
    ],
)
def test_the_most_work_goes_to_the_row_with_the_least(
    lengths: list[int], count: int, capacity: int, wanted: list[list[int]] | None
) -> None:
    work = SequenceWork(1.0, 1.0)
    assert balance(lengths, [*map(work, lengths)], count, capacity) == wanted


@given(
    lengths=st.lists(st.integers(0, 400), max_size=60),
    count=st.integers(1, 70),
    capacity=st.integers(1, 2000),
)
def test_every_sequence_is_in_one_row_with_room(
    lengths: list[int], count: int, capacity: int
) -> None:
    work = SequenceWork(10.0, 0.1)
    rows = balance(lengths, [*map(work, lengths)], count, capacity)
    if rows is None:
        assert count < len(lengths)
        return
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    for row in rows:
        nonzero = [i for i in row if lengths[i]]
        assert sum(lengths[i] for i in row) <= capacity or len(nonzero) == 1
    sums = [sum(work(lengths[i]) for i in row) for row in rows]
    assert sums == pytest.approx(sorted(sums, reverse=True))


def test_the_work_of_the_reference_model_is_what_its_weights_say() -> None:
    work = SequenceWork.of(hf_config.parse(json.dumps(QWEN3_235B)))
    # 22 billion active parameters, of them 1.2 in embedding and head; two operations each.
    assert work.per_token == pytest.approx(2 * 20.9e9, rel=0.02)
    # At 32k tokens attention is a third of it.
    attention = work.per_token_squared * 32_768**2
    assert attention / work(32_768) == pytest.approx(0.55, abs=0.05)


def test_shared_tokens_are_no_work_but_are_attended_to() -> None:
    assert SequenceWork(10.0, 0.0)(30, shared=20) == 100.0
    assert SequenceWork(0.0, 1.0)(30, shared=20) == 30**2 - 20**2


def test_balanced_by_work_ranks_wait_less_than_balanced_by_tokens() -> None:
    """2,000 trajectories of up to 32k tokens, 48 rows of at most 32k tokens per microbatch."""
    random = np.random.default_rng(0)
    lengths = [int(x) for x in np.minimum(random.lognormal(8.2, 1.0, 2000) + 500, 32_768)]
    work = SequenceWork.of(hf_config.parse(json.dumps(QWEN3_235B)))

    def waiting(by: SequenceWork) -> float:
        count, rows = 0, None
        while rows is None:
            count += 48
            rows = balance(lengths, [*map(by, lengths)], count, 32_768)
        done = [sum(work(lengths[i]) for i in row) for row in rows]
        microbatches = [done[i : i + 48] for i in range(0, count, 48)]
        return 1 - sum(done) / sum(48 * max(works) for works in microbatches)

    by_work, by_tokens = waiting(work), waiting(SequenceWork(1.0, 0.0))
    assert by_work < 0.5 * by_tokens
