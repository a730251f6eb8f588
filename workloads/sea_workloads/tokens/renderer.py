"""Token-in, token-out: the only place that turns messages into ids and ids into turns.

The prompt of turn n+1 is the exact ids of turn n's prompt, the ids that the agent generated, and
the ids of one appended method below; history is never decoded and encoded again.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from sea_workloads.tokens import hermes, markup
from sea_workloads.tokens.markup import Segment
from sea_workloads.tokens.messages import AgentTurn, Message

_TAGS = re.compile("|".join(re.escape(tag) for tag in markup.SPECIAL_TOKENS))
_CACHED_TEXTS = 8192


class UnsuitableTokenizerError(ValueError):
    """The tokenizer lacks a tag without which no turn can be framed."""


class Renderer:
    """Renders dialogues with one tokenizer. Stateless but for a cache of encoded texts."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids = {tag: tokenizer.token_to_id(tag) for tag in markup.SPECIAL_TOKENS}
        for tag in (markup.IM_START, markup.IM_END):
            if self._ids[tag] is None:
                raise UnsuitableTokenizerError(
                    f"The tokenizer has no token {tag}: use one with Qwen's chat markup."
                )
        self._text = lru_cache(_CACHED_TEXTS)(self._encode_text)

    @classmethod
    def load(cls, folder: Path) -> "Renderer":
        """Reads `tokenizer.json` of an HF folder."""
        return cls(Tokenizer.from_file(str(Path(folder) / "tokenizer.json")))

    @property
    def end_id(self) -> int:
        """Id of `<|im_end|>`: the engine's stop token."""
        return int(self._ids[markup.IM_END])

    def opening(self, system_prompt: str, messages: Sequence[Message] = ()) -> list[int]:
        """First prompt: system turn, `messages`, header of the assistant's turn."""
        turns = [{"role": "system", "content": system_prompt}, *messages]
        return self._encode(
            chain(markup.dialogue(turns), (markup.NEWLINE,), markup.ASSISTANT_HEADER)
        )

    def user_message(self, text: str) -> list[int]:
        """What follows an agent's turn when the user answers, up to the next agent header."""
        return self._appended(markup.plain_turn("user", text))

    def tool_results(self, contents: Sequence[str]) -> list[int]:
        """What follows an agent's turn with tool calls, up to the next agent header."""
        return self._appended(markup.tool_turn(contents))

    def parse(self, ids: Sequence[int]) -> AgentTurn:
        """Reads a generation, with or without its end token. Never raises."""
        return hermes.parse(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def dialogue(
        self, messages: Sequence[Message], role: str = "assistant"
    ) -> tuple[list[int], list[int]]:
        """A whole dialogue as (ids, mask), both of length T.

        The mask is 1 on the tokens that `role` writes, their `<|im_end|>` included.
        """
        ids: list[int] = []
        mask: list[int] = []
        for segment in markup.dialogue(messages):
            piece = self._segment(segment)
            ids.extend(piece)
            mask.extend([int(segment.author == role)] * len(piece))
        return ids, mask

    def agent_turn(self, message: Message) -> list[int]:
        """The ids that an agent writing this message canonically would generate."""
        return self._encode(markup.written_by_assistant(message))

    def count(self, text: str) -> int:
        """Tokens of a text outside of any markup."""
        return len(self._text(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Text with tags, for logs and reports."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def _appended(self, turn: Iterable[Segment]) -> list[int]:
        newline = (markup.NEWLINE,)
        return self._encode(chain(newline, turn, newline, markup.ASSISTANT_HEADER))

    def _encode(self, segments: Iterable[Segment]) -> list[int]:
        return [token for segment in segments for token in self._segment(segment)]

    def _segment(self, segment: Segment) -> Sequence[int]:
        if segment.tag and self._ids[segment.text] is not None:
            return (self._ids[segment.text],)
        return self._text(segment.text)

    def _encode_text(self, text: str) -> tuple[int, ...]:
        """Text that spells a tag is encoded in two halves, so that it stays text."""
        cuts = [match.start() + 1 for match in _TAGS.finditer(text)]
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        encoded = (self._tokenizer.encode(piece, add_special_tokens=False).ids for piece in pieces)
        return tuple(chain.from_iterable(encoded))
