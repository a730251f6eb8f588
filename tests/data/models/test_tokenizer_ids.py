"""Ids of a tokenizer that the embedding has no row for."""

import json
from typing import Any

import pytest

from sea_data.models import tokenizer_ids
from sea_data.models.tokenizer_ids import TokenizerFileError

GIVEN: dict[str, Any] = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}},
    "added_tokens": [{"id": 2, "content": "<|im_end|>"}, {"id": 5, "content": "<think>"}],
}


def test_ids_below_the_rows_of_the_embedding_are_fine() -> None:
    tokenizer_ids.check(json.dumps(GIVEN).encode(), 6)
    tokenizer_ids.check(json.dumps(GIVEN).encode(), 600)


def test_the_highest_id_beyond_them_is_named() -> None:
    with pytest.raises(TokenizerFileError, match=r"'<think>' with id 5.*5 rows.*ids 0 to 4"):
        tokenizer_ids.check(json.dumps(GIVEN).encode(), 5)


def test_a_vocabulary_that_is_a_list_counts_by_position() -> None:
    given = {"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]}}
    tokenizer_ids.check(json.dumps(given).encode(), 2)
    with pytest.raises(TokenizerFileError, match="'b' with id 1"):
        tokenizer_ids.check(json.dumps(given).encode(), 1)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model": {"vocab": {"a": "x"}}}'])
def test_a_file_that_is_no_tokenizer(body: bytes) -> None:
    with pytest.raises(TokenizerFileError, match=r"tokenizer\.json can't be read"):
        tokenizer_ids.check(body, 10)
