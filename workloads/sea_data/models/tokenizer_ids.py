"""Whether every id of a folder's tokenizer has a row in the model's embedding. Pure.

An id beyond it ends a trainer in an IndexError, and one in a prompt ends the whole engine. The
other way round is usual: embeddings are padded to a round number of rows.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sea_data.errors import DataError


class TokenizerFileError(DataError, ValueError):
    """A tokenizer.json that can't be used, or whose ids the model doesn't have."""


def check(body: bytes, rows: int) -> None:
    """`body` is a tokenizer.json, `rows` the embedding's.

    Raises:
        TokenizerFileError: it names the token with the highest id.
    """
    try:
        given = json.loads(body)
        token, highest = max(_ids(given), key=lambda pair: pair[1], default=("", -1))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise TokenizerFileError(
            f"The model's tokenizer.json can't be read ({error!r}): upload it again."
        ) from error
    if highest >= rows:
        raise TokenizerFileError(
            f"The model's tokenizer has the token {token!r} with id {highest}, but its embedding "
            f"has {rows} rows (vocab_size in config.json), ids 0 to {rows - 1}: use the model's "
            "own tokenizer, or resize the embedding before training."
        )


def _ids(given: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    model = given["model"]
    # Unigram models have a list of [token, score], the id is the position.
    vocabulary = model.get("vocab") or {}
    if isinstance(vocabulary, list):
        yield from ((str(entry[0]), number) for number, entry in enumerate(vocabulary))
    else:
        yield from ((str(token), int(number)) for token, number in vocabulary.items())
    for added in given.get("added_tokens") or ():
        yield str(added["content"]), int(added["id"])
