"""The tiny model's tokenizer: byte-level BPE whose merges never cross a word of interest.

The pre-split makes every digit and every capitalised word a piece of its own, so that ids, names
and amounts are copied token by token, while the constant text between them becomes few tokens.
"""

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from sea_env.tokens import markup

PRE_SPLIT = r"(?:system|user|assistant)\n|[A-Z][a-z]*|\d"


def train(texts: Iterable[str], largest: int) -> Any:
    """A `tokenizers.Tokenizer` of at most `largest` tokens, special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=largest,
        min_frequency=2,
        special_tokens=list(markup.SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
