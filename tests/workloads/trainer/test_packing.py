"""Microbatches: every sequence once, equal shapes on all ranks, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_workloads.trainer import packing


@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    ranks=st.integers(1, 4),
    most=st.integers(1, 2000),
)
def test_every_sequence_is_trained_once(lengths: list[int], ranks: int, most: int) -> None:
    plan = packing.plan(lengths, ranks, max_tokens=most)
    seen = [i for part in plan for row in part.rows for i in row if i != packing.FILLER]
    assert sorted(seen) == list(range(len(lengths)))
    for part in plan:
        assert len(part.rows) == ranks
        assert len({len(row) for row in part.rows}) == 1
        assert all(lengths[i] <= part.length for row in part.rows for i in row if i >= 0)
        assert len(part.rows[0]) == 1 or len(part.rows[0]) * part.length <= most


def test_similar_lengths_share_a_microbatch() -> None:
    lengths = [100] * 8 + [1000] * 8
    plan = packing.plan(lengths, 2, max_tokens=4000, overhead=300)
    assert [(len(part.rows[0]), part.length) for part in plan] == [(4, 1000), (4, 100)]


def test_few_tokens_are_not_worth_another_microbatch() -> None:
    assert len(packing.plan([90, 95, 100, 105], 2, overhead=300)) == 1


def test_padding_fills_rows_and_fillers() -> None:
    part = packing.plan([2, 3, 1], 2)[0]
    values = [np.array([5, 6]), np.array([7, 8, 9]), np.array([4])]
    rows = [packing.pad(part, rank, lambda i: values[i], np.int64, fill=-1) for rank in (0, 1)]
    assert rows[0].tolist() == [[7, 8, 9], [4, -1, -1]]
    assert rows[1].tolist() == [[5, 6, -1], [-1, -1, -1]]
    assert packing.per_sequence(part, 1, [1.0, 2.0, 3.0]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("count", [1, 128, 1000])
def test_the_shop_batch_wastes_little(count: int) -> None:
    lengths = list(np.random.default_rng(0).integers(60, 140, count))
    plan = packing.plan(lengths, 2)
    padded = sum(len(part.rows) * len(part.rows[0]) * part.length for part in plan)
    assert count == 1 or padded <= 1.25 * sum(lengths)
