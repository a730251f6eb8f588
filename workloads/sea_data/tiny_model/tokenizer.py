"""The tiny model's tokenizer, and the tag-free texts of a job's data that it is trained on.

Byte-level BPE whose merges never cross a word of interest: the pre-split makes each digit and each
capitalized word a piece of its own. So ids, names and amounts are copied token by token, while the
constant text between them becomes few tokens.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from sea_data.errors import RowError
from sea_data.formats.dialogue import Dialogue, dialogue
from sea_data.formats.perspective import agent_side, exchange
from sea_env.tokens import markup
from sea_env.tokens.messages import Message

PRE_SPLIT = r"(?:system|user|assistant)\n|[A-Z][a-z]*|\d"


def train(texts: Iterable[str], max_size: int) -> Any:
    """A `tokenizers.Tokenizer` of at most `max_size` tokens, special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max_size,
        min_frequency=2,
        special_tokens=list(markup.SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def texts(dialogues: Iterable[Sequence[Message]], policies: Iterable[str] = ()) -> Iterator[str]:
    """The text segments of each dialogue, then each policy twice, since a merge needs a pair."""
    for messages in dialogues:
        for segment in markup.dialogue(messages):
            if not segment.tag:
                yield segment.text
    for policy in policies:
        yield policy
        yield policy


def both_sides(dialogues: Iterable[Dialogue]) -> Iterator[Sequence[Message]]:
    """Each dialogue as the agent's model and as the user's model sees it."""
    for given in dialogues:
        yield agent_side(given).messages
        yield exchange(given).messages


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Message]]:
    """Both sides of each valid `sft` row; the data checks report the others.

    Without the user's side, its prompts would be spelled in bytes and half as long again.
    """
    for row in rows:
        try:
            yield from both_sides([dialogue(row)])
        except RowError:
            continue
