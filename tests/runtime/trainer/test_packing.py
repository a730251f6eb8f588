"""Packed rows: every sequence once, rows as the layout needs them, little padding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.parallel.row_balance import SequenceWork
from sea_runtime.trainer import packed_row, packing
from sea_runtime.trainer.packed_row import PackedRow
from sea_runtime.trainer.packing import Grid
from sea_runtime.trainer.row_spans import Span
from sea_runtime.trainer.shared_prefixes import Rows

GRIDS = [
    Grid(1),
    Grid(2),
    Grid(4, row_multiple=4),
    Grid(2, sequence_multiple=4, row_multiple=8),
    Grid(3, equal_rows=True),
]

WORK = SequenceWork(1000.0, 1.0)


def every(tokens: Rows) -> Rows:
    """All log-probabilities are read."""
    return [np.ones(len(one)) for one in tokens]


def one_layout(context: int = 1, world: int = 1) -> ParallelLayout:
    return ParallelLayout(world, 1, 1, context, 1, 1, (1,))


@given(
    lengths=st.lists(st.integers(0, 400), max_size=60),
    grid=st.sampled_from(GRIDS),
    capacity=st.integers(1, 2000),
)
def test_every_sequence_is_trained_once(lengths: list[int], grid: Grid, capacity: int) -> None:
    plan = packing.plan(lengths, grid, capacity, WORK)
    assert sorted(i for part in plan for row in part.rows for i in row) == list(range(len(lengths)))
    longest = [max(part.lengths) for part in plan]
    assert longest == sorted(longest, reverse=True)
    for part in plan:
        assert len(part.rows) == len(part.lengths) == grid.rows
        for row, length in zip(part.rows, part.lengths, strict=True):
            tokens = sum(grid.sequence(lengths[i]) for i in row)
            assert 0 < length >= tokens
            assert length % grid.row_multiple == 0
            assert tokens <= capacity or len(row) == 1
            assert grid.equal_rows or length - tokens <= max(1, grid.row_multiple)
    if grid.equal_rows:
        assert len({length for part in plan for length in part.lengths}) <= 1


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=20),
    grid=st.sampled_from(GRIDS),
    capacity=st.integers(1, 200),
)
def test_bounds_split_a_row_into_its_sequences(
    lengths: list[int], grid: Grid, capacity: int
) -> None:
    """From each bound on are the tokens of one sequence, in order; padding is last."""
    values = [np.full(length, index + 1) for index, length in enumerate(lengths)]
    for part in packing.plan(lengths, grid, capacity, WORK):
        for replica in range(grid.rows):
            row = PackedRow.of(part, replica, lengths, grid)
            assert (row.bounds[0], row.bounds[-1]) == (0, part.lengths[replica])
            assert [one.index for one, _ in row.placed()] == [
                i for i in part.rows[replica] if lengths[i]
            ]
            tokens, positions = row.tokens(values), row.positions()
            for one, start in row.placed():
                assert start in row.bounds
                assert start % grid.sequence_multiple == 0
                assert (tokens[start : start + one.tokens] == one.index + 1).all()
                assert positions[start] == 0
            assert np.count_nonzero(tokens) == sum(lengths[i] for i in part.rows[replica])


def test_rows_are_balanced_over_replicas_and_microbatches() -> None:
    plan = packing.plan([400, 300, 300, 200, 100, 100], Grid(2), 1000, WORK)
    assert [part.lengths for part in plan] == [(700, 700)]


def test_a_sequence_longer_than_a_row_has_its_own_row() -> None:
    plan = packing.plan([50, 5000, 60], Grid(1), 512, WORK)
    assert [(part.rows, part.lengths) for part in plan] == [
        (((1,),), (5000,)),
        (((2, 0),), (110,)),
    ]


def test_a_batch_without_tokens_is_still_a_step_of_all_ranks() -> None:
    (part,) = packing.plan([0], Grid(2, row_multiple=4), 512, WORK)
    assert part.lengths == (4, 4)
    for replica in (0, 1):
        assert PackedRow.of(part, replica, [0], Grid(2, row_multiple=4)).bounds == (0, 4)


def test_fewer_sequences_than_replicas_leave_rows_of_padding() -> None:
    """Their ranks take part in every collective, and train nothing."""
    (part,) = packing.plan([9], Grid(4, row_multiple=2), 512, WORK)
    assert part.lengths == (10, 2, 2, 2)
    layout = ParallelLayout(4, 1, 1, 1, 1, 1, (1,))
    tokens = [np.arange(9)]
    for rank in range(1, 4):
        (batch,) = packed_row.iter_microbatches(
            [part],
            Grid(4, row_multiple=2),
            layout.place(rank),
            tokens,
            every(tokens),
            torch.device("cpu"),
        )
        assert batch.labels_t.tolist() == [-1, -1]


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("context", [2, 4])
def test_context_ranks_share_a_sequence_however_short_it_is(length: int, context: int) -> None:
    """A sequence with fewer tokens than chunks is padded: each label is on exactly one rank."""
    layout = one_layout(context, context)
    grid = Grid(1, layout.sequence_multiple, layout.row_multiple)
    tokens = [np.arange(length) + 10, np.arange(5) + 100]
    plan = packing.plan_chosen(tokens, [0, 1], every(tokens), grid, 1000, work=WORK)
    labels: list[int] = []
    found = [np.zeros(len(one)) for one in tokens]
    for rank in range(context):
        place, device = layout.place(rank), torch.device("cpu")
        (batch,) = packed_row.iter_microbatches(plan, grid, place, tokens, every(tokens), device)
        assert len(batch.tokens_t) * context == plan[0].lengths[0]
        labels += [x for x in batch.labels_t.tolist() if x >= 0]
        values = batch.per_token(tokens, np.float32, fill=0.0)
        assert values.tolist() == [max(0.0, float(x)) for x in batch.labels_t]
        for index, part in batch.split(values.numpy()).items():
            found[index] += part
    assert sorted(labels) == [*range(11, 10 + length), *range(101, 105)]
    assert [one[1:].tolist() for one in found] == [one[1:].tolist() for one in tokens]


@pytest.mark.parametrize(("count", "most"), [(16, 0.05), (128, 0.01), (1000, 0.01)])
def test_padding_of_a_shop_batch_is_small(count: int, most: float) -> None:
    lengths = [int(x) for x in np.random.default_rng(0).integers(60, 140, count)]
    plan = packing.plan(lengths, Grid(2), 3072, WORK)
    assert packing.row_fractions(plan, sum(lengths))["padding_fraction"] <= most


def test_a_sequence_that_is_chosen_twice_is_trained_twice() -> None:
    """A batch may be larger than the data."""
    tokens = [np.arange(length) for length in (3, 5, 7)]
    plan = packing.plan_chosen(tokens, [2, 0, 2], every(tokens), Grid(1), capacity=100, work=WORK)
    assert sorted(i for part in plan for row in part.rows for i in row) == [0, 2, 2]


def test_values_are_laid_out_by_the_position_that_predicts_their_token() -> None:
    tokens = [np.arange(3), np.arange(5), np.arange(2)]
    grid, layout = Grid(2), ParallelLayout(2, 1, 1, 1, 1, 1, (1,))
    plan = packing.plan_chosen(tokens, [0, 1, 2], every(tokens), grid, capacity=5, work=WORK)
    for rank in (0, 1):
        place, device = layout.place(rank), torch.device("cpu")
        (one,) = packed_row.iter_microbatches(plan, grid, place, tokens, every(tokens), device)
        own = plan[0].rows[rank]
        assert one.tokens_t.tolist() == [t for i in own for t in range(len(tokens[i]))]
        assert one.labels_t.tolist() == [t for i in own for t in (*range(1, len(tokens[i])), -1)]
        numbers = one.per_sequence([10.0, 20.0, 30.0])
        assert numbers.tolist() == [10.0 * (i + 1) for i in own for _ in tokens[i]]
        parts = one.split(one.labels_t.numpy())
        # Nothing predicts a first token.
        assert {i: part.tolist() for i, part in parts.items()} == {
            i: tokens[i].tolist() for i in own
        }


def test_a_token_whose_log_probability_nobody_reads_has_no_label() -> None:
    tokens = [np.arange(4) + 10, np.arange(3) + 20]
    wanted = {0: np.array([1, 0, 1, 0]), 1: np.array([0, 0.5, 0])}
    grid, layout = Grid(1), ParallelLayout(1, 1, 1, 1, 1, 1, (1,))
    plan = packing.plan_chosen(tokens, [0, 1], wanted, grid, 100, WORK)
    (one,) = packed_row.iter_microbatches(
        plan, grid, layout.place(0), tokens, wanted, torch.device("cpu")
    )
    # What comes after the last label isn't in the row: no loss needs it.
    assert one.labels_t.tolist() == [-1, 12, -1, 21, -1]
    # What goes with the other tokens stays: the loss weighs them, the head doesn't compute them.
    assert one.per_token(tokens, np.int64).tolist() == [11, 12, 0, 21, 0]
    assert {i: v.tolist() for i, v in one.split(one.labels_t.numpy()).items()} == {
        0: [0, -1, 12, 0],
        1: [0, 21, 0],
    }


def test_a_shared_prompt_is_in_the_row_once() -> None:
    prompt = np.arange(20)
    tokens = [np.concatenate([prompt, [50, 51]]), np.concatenate([prompt, [60, 61, 62]])]
    wanted = [(np.arange(len(one)) >= 20).astype(float) for one in tokens]
    grid, layout = Grid(1, row_multiple=4), ParallelLayout(1, 1, 1, 1, 1, 1, (1,))
    (one,) = packing.plan_chosen(tokens, [0, 1], wanted, grid, 100, WORK)
    (batch,) = packed_row.iter_microbatches(
        [one], grid, layout.place(0), tokens, wanted, torch.device("cpu")
    )
    own = [19, 60, 61, 62]
    assert batch.tokens_t.tolist() == [*prompt, 50, 51, *own, 0, 0]
    assert batch.labels_t.tolist() == [-1] * 19 + [50, 51, -1] + [60, 61, 62, -1] + [-1, -1]
    assert batch.row.positions().tolist() == [*range(22), *range(19, 23), 0, 1]
    assert batch.row.spans() == [Span(0, 22, 0), Span(22, 26, 22, 0, 19), Span(26, 28, 26)]
    logp = batch.split(batch.labels_t.numpy())
    assert logp[1].tolist() == [0] * 20 + [60, 61, 62]
    numbers = batch.per_sequence([1.0, 2.0]).tolist()
    assert numbers == [1.0] * 22 + [2.0] * 4 + [0.0] * 2
    fractions = packing.row_fractions([one], 45)
    assert fractions["padding_fraction"] == pytest.approx(2 / 28)
    assert fractions["skipped_fraction"] == pytest.approx(19 / 45)


def test_bundles_are_small_enough_to_be_balanced_over_replicas() -> None:
    tokens = [np.concatenate([np.arange(20), [100 + i]]) for i in range(16)]
    wanted = [(np.arange(21) == 20).astype(float) for _ in tokens]
    (one,) = packing.plan_chosen(tokens, range(16), wanted, Grid(4), 1000, WORK)
    assert [len(row) for row in one.rows] == [4, 4, 4, 4]
    (one,) = packing.plan_chosen(tokens, range(16), wanted, Grid(1), 1000, WORK)
    assert one.lengths == (21 + 15 * 2,)


def test_rows_have_similar_work_rather_than_similar_length() -> None:
    """One long sequence is as much work as several short ones with more tokens."""
    quadratic = SequenceWork(0.0, 1.0)
    (part,) = packing.plan([400, 200, 200, 200, 200], Grid(2), 1000, quadratic)
    assert part.rows == ((0,), (1, 2, 3, 4))
    assert part.lengths == (400, 800)
