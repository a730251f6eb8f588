"""Each token is computed at most once: prompts with one sequence, nothing after the last loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_runtime.trainer import shared_prefixes
from sea_runtime.trainer.shared_prefixes import MIN_SHARED, Part, Rows, bundles, whole

PROMPT = np.arange(100)


def sequence(name: int, length: int = 20, prompt: int = 100) -> np.ndarray:
    """A prompt and tokens of its own."""
    return np.concatenate([PROMPT[:prompt], 1000 * name + np.arange(length)])


def reading(tokens: Rows, first: int = 100) -> Rows:
    """Reads the log-probabilities of all tokens from `first` on."""
    return [(np.arange(len(one)) >= first).astype(np.uint8) for one in tokens]


def test_a_group_computes_its_prompt_once() -> None:
    tokens = [sequence(1), sequence(2), sequence(3)]
    (found,) = bundles(tokens, [0, 1, 2], reading(tokens), 1000, share=True)
    # The prompt's last token predicts the first generated one, another one in each.
    assert found == (Part(0, 0, 120), Part(1, 99, 120), Part(2, 99, 120))


def test_another_prompt_begins_another_bundle() -> None:
    tokens = [sequence(1), sequence(2), sequence(3) + 7, sequence(4) + 7]
    found = bundles(tokens, range(4), reading(tokens), 1000, share=True)
    assert [[part.index for part in bundle] for bundle in found] == [[0, 1], [2, 3]]


def test_a_prompt_that_is_trained_is_computed_in_each() -> None:
    tokens = [sequence(1), sequence(2)]
    found = bundles(tokens, [0, 1], reading(tokens, first=1), 1000, share=True)
    assert found == whole([120, 120])


def test_what_is_read_of_the_first_sequence_does_not_matter() -> None:
    tokens = [sequence(1), sequence(2)]
    wanted = [np.ones(120), reading(tokens)[1]]
    assert bundles(tokens, [0, 1], wanted, 1000, share=True) == [
        (Part(0, 0, 120), Part(1, 99, 120))
    ]


def test_tokens_after_the_last_one_that_is_read_are_left_out() -> None:
    tokens = [sequence(1)]
    wanted = [np.zeros(120)]
    wanted[0][104] = 0.5
    assert bundles(tokens, [0], wanted, 1000, share=True) == [(Part(0, 0, 105),)]
    wanted[0][:] = 0
    wanted[0][0] = 1  # nothing predicts a first token
    assert bundles(tokens, [0], wanted, 1000, share=True) == [(Part(0, 0, 0),)]


def test_a_sequence_longer_than_what_the_first_one_computes_shares_that() -> None:
    tokens = [np.concatenate([PROMPT, PROMPT]), np.concatenate([PROMPT, PROMPT, PROMPT])]
    wanted = [reading(tokens, 49)[0] * (np.arange(200) < 60), reading(tokens, 150)[1]]
    assert bundles(tokens, [0, 1], wanted, 1000, share=True) == [(Part(0, 0, 60), Part(1, 60, 300))]


@pytest.mark.parametrize(
    ("prompt", "most", "share"), [(MIN_SHARED, 1000, True), (100, 139, True), (100, 1000, False)]
)
def test_what_is_not_shared(prompt: int, most: int, share: bool) -> None:
    """Too little, more tokens than a row may have, context parallelism."""
    tokens = [sequence(1, prompt=prompt), sequence(2, prompt=prompt)]
    found = bundles(tokens, [0, 1], reading(tokens, prompt), most, share=share)
    assert [len(bundle) for bundle in found] == [1, 1]


@given(
    tokens=st.lists(
        st.lists(st.integers(0, 1), min_size=1, max_size=40).map(np.array), min_size=1, max_size=8
    ),
    data=st.data(),
    most=st.integers(1, 200),
)
def test_every_token_that_is_read_is_predicted_with_its_whole_past(
    tokens: Rows, data: st.DataObject, most: int
) -> None:
    wanted = [
        np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(t), max_size=len(t))))
        for t in tokens
    ]
    chosen = data.draw(st.lists(st.integers(0, len(tokens) - 1), max_size=10))
    found = bundles(tokens, chosen, wanted, most, share=True)
    assert list(shared_prefixes.indices(found)) == chosen
    for bundle in found:
        head = bundle[0]
        assert head.begin == 0
        assert len(bundle) == 1 or sum(part.tokens for part in bundle) <= most
        for part in bundle:
            read = [i for i in np.flatnonzero(wanted[part.index]) if i]
            assert all(part.begin < i < part.end for i in read)
            shared = tokens[part.index][: part.begin]
            assert shared.tolist() == tokens[head.index][: part.begin].tolist()
            assert part.begin <= head.end
