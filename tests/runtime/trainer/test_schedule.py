"""Rates, batches and the validation split as pure functions."""

from collections import Counter

import pytest

from sea_runtime.trainer.optimizer import rl_rate, sft_rate
from sea_runtime.trainer.rl_batch import minibatches
from sea_runtime.trainer.sft_data import sft_batch, sft_steps, split_validation


@pytest.mark.parametrize(
    ("step", "warmup", "wanted"), [(1, 4, 0.25), (4, 4, 1.0), (9, 4, 1.0), (1, 0, 1.0)]
)
def test_warmup(step: int, warmup: int, wanted: float) -> None:
    assert sft_rate(step, 1.0, warmup) == wanted


@pytest.mark.parametrize(
    ("step", "fraction", "wanted"), [(1, 0.1, 1.0), (11, 0.1, 0.1), (6, 0.0, 0.5), (11, 1.0, 1.0)]
)
def test_linear_decay(step: int, fraction: float, wanted: float) -> None:
    assert rl_rate(step, 1.0, 0, 11, fraction) == pytest.approx(wanted)


def test_one_step_has_the_full_rate() -> None:
    assert rl_rate(1, 1.0, 0, 1, 0.0) == 1.0


@pytest.mark.parametrize(
    ("dialogues", "batch", "epochs", "most", "wanted"),
    [(3104, 16, 1, None, 194), (10, 16, 1, None, 1), (100, 10, 3, 7, 7), (100, 10, 3, 99, 30)],
)
def test_number_of_steps(
    dialogues: int, batch: int, epochs: int, most: int | None, wanted: int
) -> None:
    assert sft_steps(dialogues, batch, epochs, most) == wanted


def test_an_epoch_sees_every_dialogue_once() -> None:
    indices = list(range(50, 70))
    seen = [i for step in range(1, 6) for i in sft_batch(step, indices, 8, seed=3)]
    assert Counter(seen[:20]) == Counter(indices)
    assert Counter(seen[20:40]) == Counter(indices)
    assert seen[:20] != seen[20:40]


def test_a_batch_may_be_larger_than_the_data() -> None:
    assert len(sft_batch(1, [1, 2, 3], 8, seed=0)) == 8


def test_batches_depend_on_seed_and_step_only() -> None:
    first = sft_batch(4, range(100), 8, seed=1)
    assert first == sft_batch(4, range(100), 8, seed=1)
    assert first != sft_batch(4, range(100), 8, seed=2)


@pytest.mark.parametrize(("count", "fraction", "held"), [(100, 0.1, 10), (3, 0.99, 2), (9, 0.0, 0)])
def test_validation_split(count: int, fraction: float, held: int) -> None:
    train, held_out = split_validation(tuple(range(count)), fraction, seed=0)
    assert len(held_out) == held
    assert sorted(train + held_out) == list(range(count))


@pytest.mark.parametrize("seed", range(5))
def test_samples_of_one_dialogue_are_on_one_side_of_the_split(seed: int) -> None:
    """With `thinkingHistory: Strip` each exchange is a sample that repeats those before it."""
    origins = tuple(number for number in range(20) for _ in range(number % 4 + 1))
    train, held_out = split_validation(origins, 0.3, seed)
    assert sorted(train + held_out) == list(range(len(origins)))
    assert len({origins[i] for i in held_out}) == 6
    assert not {origins[i] for i in held_out} & {origins[i] for i in train}


def test_a_single_dialogue_of_many_samples_is_trained() -> None:
    assert split_validation((0, 0, 0), 0.9, seed=0) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    ("groups", "count", "wanted"),
    [(16, 1, [16]), (16, 3, [5, 5, 6]), (2, 4, [1, 1])],
)
def test_minibatches(groups: int, count: int, wanted: list[int]) -> None:
    assert [len(part) for part in minibatches(groups, count)] == wanted
