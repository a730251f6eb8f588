"""Packed rows: every sequence once, rows of one length on all ranks, little that fills up."""

import numpy as np
import pytest
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
def test_bounds_part_a_row_into_its_sequences(lengths: list[int], capacity: int) -> None:
    """Between two bounds lie the tokens of one sequence, in order; the rest fills up."""
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


def test_rows_are_evened_out_over_ranks_and_microbatches() -> None:
    plan = packing.plan([400, 300, 300, 200, 100, 100], 2, 1000)
    assert [(part.length, len(part.rows)) for part in plan] == [(700, 2)]


def test_a_sequence_longer_than_a_row_goes_alone() -> None:
    plan = packing.plan([50, 5000, 60], 1, 512)
    assert [(part.rows, part.length) for part in plan] == [(((1,),), 5000), (((2, 0),), 110)]


def test_a_batch_without_tokens_is_still_a_step_of_all_ranks() -> None:
    (part,) = packing.plan([0], 2, 512)
    assert part.length == 1
    assert [packing.bounds(part, rank, [0]) for rank in (0, 1)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(("count", "most"), [(16, 0.05), (128, 0.01), (1000, 0.01)])
def test_little_fills_the_rows_of_a_shop_batch(count: int, most: float) -> None:
    lengths = [int(x) for x in np.random.default_rng(0).integers(60, 140, count)]
    plan = packing.plan(lengths, 2, 3072)
    assert packing.padding_fraction(plan, sum(lengths)) <= most
