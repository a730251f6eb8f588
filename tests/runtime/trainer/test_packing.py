"""Packed rows: every sequence once, rows of equal length on all ranks, little padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.trainer import packing


@given(
    lengths=st.lists(st.integers(0, 400), max_size=60),
    ranks=st.integers(1, 4),
    capacity=st.integers(1, 2000),
)
def test_every_sequence_is_trained_once(lengths: list[int], ranks: int, capacity: int) -> None:
    plan = packing.plan(lengths, ranks, capacity)
    assert sorted(i for part in plan for row in part.rows for i in row) == list(range(len(lengths)))
    assert [part.length for part in plan] == sorted((part.length for part in plan), reverse=True)
    for part in plan:
        assert len(part.rows) == ranks
        for row in part.rows:
            tokens = sum(lengths[i] for i in row)
            assert tokens <= part.length
            assert tokens <= capacity or len(row) == 1


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=20), capacity=st.integers(1, 200))
def test_bounds_split_a_row_into_its_sequences(lengths: list[int], capacity: int) -> None:
    """Between two bounds are the tokens of one sequence, in order; padding is last."""
    values = [np.full(length, index + 1) for index, length in enumerate(lengths)]
    for part in packing.plan(lengths, 2, capacity):
        for rank in (0, 1):
            row = packing.row(part, rank, lambda i: values[i], np.int64, fill=-1)
            bounds = packing.bounds(part, rank, lengths)
            assert (bounds[0], bounds[-1], len(row)) == (0, part.length, part.length)
            pieces = np.split(row, bounds[1:-1])
            wanted = [values[i] for i in part.rows[rank] if lengths[i]]
            for piece, want in zip(pieces, wanted, strict=False):
                assert piece.tolist() == want.tolist()
            assert len(pieces) - len(wanted) in (0, 1)
            assert all((piece == -1).all() for piece in pieces[len(wanted) :])


def test_rows_are_balanced_over_ranks_and_microbatches() -> None:
    plan = packing.plan([400, 300, 300, 200, 100, 100], 2, 1000)
    assert [(part.length, len(part.rows)) for part in plan] == [(700, 2)]


def test_a_sequence_longer_than_a_row_has_its_own_row() -> None:
    plan = packing.plan([50, 5000, 60], 1, 512)
    assert [(part.rows, part.length) for part in plan] == [(((1,),), 5000), (((2, 0),), 110)]


def test_a_batch_without_tokens_is_still_a_step_of_all_ranks() -> None:
    (part,) = packing.plan([0], 2, 512)
    assert part.length == 1
    assert [packing.bounds(part, rank, [0]) for rank in (0, 1)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(("count", "most"), [(16, 0.05), (128, 0.01), (1000, 0.01)])
def test_padding_of_a_shop_batch_is_small(count: int, most: float) -> None:
    lengths = [int(x) for x in np.random.default_rng(0).integers(60, 140, count)]
    plan = packing.plan(lengths, 2, 3072)
    assert packing.padding_fraction(plan, sum(lengths)) <= most


def test_a_sequence_that_is_chosen_twice_is_trained_twice() -> None:
    """A batch may be larger than the data."""
    tokens = [np.arange(length) for length in (3, 5, 7)]
    plan = packing.plan_chosen(tokens, [2, 0, 2], ranks=1, capacity=100)
    assert sorted(i for part in plan for row in part.rows for i in row) == [0, 2, 2]


def test_values_are_laid_out_as_the_tokens_are() -> None:
    tokens = [np.arange(3), np.arange(5), np.arange(2)]
    plan = packing.plan_chosen(tokens, [0, 1, 2], ranks=2, capacity=5)
    for rank in (0, 1):
        (one,) = packing.iter_microbatches(plan, rank, tokens, torch.device("cpu"))
        own = plan[0].rows[rank]
        assert one.tokens_t.tolist() == [t for i in own for t in range(len(tokens[i]))]
        assert one.starts_t.tolist() == [t == 0 for t in one.tokens_t.tolist()]
        numbers = one.per_sequence([10.0, 20.0, 30.0], tokens)
        assert numbers.tolist() == [10.0 * (i + 1) for i in own for _ in tokens[i]]
        parts = one.split(one.tokens_t.numpy(), tokens)
        assert {i: part.tolist() for i, part in parts.items()} == {
            i: tokens[i].tolist() for i in own
        }
