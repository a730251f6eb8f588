"""Dialogues are packed into sequences of the context length: whole, none lost, few half empty."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_data.formats import sequences


@given(st.lists(st.integers(1, 100), max_size=60))
def test_all_are_packed_and_nothing_overflows(lengths: list[int]) -> None:
    found = sequences.pack(lengths, 100)
    assert sorted(index for one in found for index in one) == list(range(len(lengths)))
    sums = [sum(lengths[index] for index in one) for one in found]
    assert all(total <= 100 for total in sums)
    assert sum(total <= 50 for total in sums) <= 1, "two half empty ones would be one"


def test_a_longer_sequence_lies_alone() -> None:
    assert sequences.pack([30, 250, 60], 100) == [[1], [2, 0]]


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 9))
def test_rows_are_balanced(lengths: list[int], count: int) -> None:
    found = sequences.balance(lengths, count)
    assert sorted(index for one in found for index in one) == list(range(len(lengths)))
    sums = [sum(lengths[index] for index in one) for one in found]
    assert len(sums) == count
    assert max(sums) - min(sums) <= max(lengths, default=0)


@pytest.mark.parametrize(
    ("mask", "context", "end"),
    [
        ([0, 1, 1, 0, 0, 1, 1], 7, 7),
        ([0, 1, 1, 0, 0, 1, 1], 6, 3),
        ([0, 1, 1, 0, 0, 1, 1], 5, 3),
        ([0, 1, 1, 0, 0, 1, 1], 3, 3),
        ([0, 1, 1, 0, 0, 1, 1], 2, 0),
        ([0, 1, 1, 0, 0], 9, 3),
        ([0, 0], 9, 0),
        ([], 9, 0),
    ],
)
def test_a_dialogue_ends_after_its_last_answer_that_fits(
    mask: list[int], context: int, end: int
) -> None:
    assert sequences.last_answer_within(mask, context) == end
