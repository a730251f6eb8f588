"""Token-in, token-out: the only place that turns messages into ids and ids into turns.

The prompt of turn n+1 is the exact ids of turn n's prompt, the ids that the agent generated, and
the ids of one appended method below; history is never decoded and encoded again. The one exception
is a style that `strips_thoughts`: after each text of the user, `opening` writes the dialogue again.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from sea_env.tokens import markup, model_folder, reader, tool_prompt
from sea_env.tokens.call_formats import Parameters
from sea_env.tokens.chat_template import ChatTemplate
from sea_env.tokens.markup import Segment
from sea_env.tokens.messages import AgentTurn, Message
from sea_env.tokens.model_folder import UnsuitableTokenizerError
from sea_env.tokens.style import BRIEF, CallFormat, Style, Thinking

_TOOL_TAGS = re.compile(f"({re.escape(markup.TOOL_CALL)}|{re.escape(markup.TOOL_CALL_END)})")
_CACHED_TEXTS = 8192
_CACHED_PROMPTS = 64


class Renderer:
    """Renders dialogues with one tokenizer. Its only state is a cache of encoded texts."""

    def __init__(
        self, tokenizer: Any, style: Style = BRIEF, template: ChatTemplate | None = None
    ) -> None:
        """`template` writes the list of tools if the style isn't the tiny model's."""
        self.style = style
        self._tokenizer, self._template = tokenizer, template
        self._ids = {tag: tokenizer.token_to_id(tag) for tag in markup.TAGS}
        for tag in (markup.IM_START, markup.IM_END):
            if self._ids[tag] is None:
                raise UnsuitableTokenizerError(
                    f"The tokenizer has no token {tag}: use one with Qwen's chat markup."
                )
        self._tags = _pattern(tokenizer)
        self._text = lru_cache(_CACHED_TEXTS)(self._encode_text)
        self._prompt = lru_cache(_CACHED_PROMPTS)(self._system_text)

    @classmethod
    def load(
        cls, path: Path, calls: CallFormat | None = None, *, strips_thoughts: bool = False
    ) -> "Renderer":
        """Reads an HF folder: tokenizer.json, and its chat template for the style.

        `calls` overrides the format of tool calls that the template shows; `strips_thoughts` is the
        job's `thinkingHistory: Strip`. Raises UnsuitableTokenizerError, also for a model without
        thoughts that could be stripped.
        """
        tokenizer = model_folder.tokenizer(Path(path))
        style, template = model_folder.style(Path(path), tokenizer, calls)
        if strips_thoughts and style.thinking is Thinking.NONE:
            raise UnsuitableTokenizerError(
                f"spec.model.thinkingHistory is Strip, and the model in {path} writes no thoughts "
                "by its chat template: leave thinkingHistory out (in a new job)."
            )
        return cls(tokenizer, replace(style, strips_thoughts=strips_thoughts), template)

    @property
    def end_id(self) -> int:
        """Id of `<|im_end|>`: the engine's stop token."""
        return int(self._ids[markup.IM_END])

    @property
    def takes_later_system(self) -> bool:
        """False if the model's own template refuses a system message that isn't the first."""
        return self._template is None or self._template.takes_later_system

    def opening(
        self,
        system_prompt: str,
        messages: Sequence[Message] = (),
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> list[int]:
        """First prompt: system turn, `messages`, header of the assistant's turn.

        `tools` are OpenAI function schemas; a prompt written by `tool_prompt.write` includes them.
        """
        text = tool_prompt.write(system_prompt, tools)
        turns, _ = self._prepared([{"role": "system", "content": text}, *messages])
        return self._encode(
            chain(markup.dialogue(turns, self.style), (markup.NEWLINE,), self._header())
        )

    def user_message(self, text: str) -> list[int]:
        """What follows an agent's turn when the user answers, up to the next agent header."""
        return self._appended(markup.plain_turn("user", text, self.style))

    def tool_results(self, contents: Sequence[str]) -> list[int]:
        """What follows an agent's turn with tool calls, up to the next agent header."""
        return self._appended(markup.tool_turn(contents, self.style))

    def parse(self, ids: Sequence[int], parameters: Parameters | None = None) -> AgentTurn:
        """Reads a generation, with or without its end token. Never raises.

        `parameters` (JSON schema by tool name) give XML arguments their types.
        """
        return reader.parse(self.decode(ids), self.style, parameters)

    def dialogue(
        self,
        messages: Sequence[Message],
        role: str = "assistant",
        trained: Collection[int] | None = None,
    ) -> tuple[list[int], list[int]]:
        """A whole dialogue as (ids, mask), both of length T.

        The mask is 1 on the tokens that `role` writes, thinking and `<|im_end|>` included; with
        `trained`, only in the messages of these indices.
        """
        ids: list[int] = []
        mask: list[int] = []
        prepared, added = self._prepared(messages)
        for index, segments in markup.turns(prepared, self.style):
            # `trained` counts the caller's messages, before which a default system turn may have
            # been added.
            wanted = trained is None or index - added in trained
            for segment in chain((markup.NEWLINE,) if ids else (), segments):
                piece = self._segment(segment)
                ids.extend(piece)
                mask.extend([int(wanted and segment.author == role)] * len(piece))
        return ids, mask

    def agent_turn(self, message: Message) -> list[int]:
        """The ids that an agent writing this message canonically would generate."""
        return self._encode(markup.written_by_assistant(message, self.style))

    def count(self, text: str) -> int:
        """Tokens of a text outside of any markup."""
        return len(self._text(text, False))

    def encode(self, text: str) -> list[int]:
        """Ids of a text outside of any markup."""
        return list(self._text(text, False))

    def decode(self, ids: Sequence[int]) -> str:
        """Text with tags, for logs and reports."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def _header(self) -> Iterable[Segment]:
        return markup.assistant_header(self.style)

    def _prepared(self, messages: Sequence[Message]) -> tuple[Sequence[Message], int]:
        """(messages with the system turn that the model's family writes, turns added to them)."""
        if self.style.brief or self._template is None or not messages:
            return messages, 0
        if messages[0]["role"] != "system":
            default = self._template.default_system
            added = [{"role": "system", "content": default}] if default else []
            return [*added, *messages], len(added)
        system = self._prompt(str(messages[0].get("content") or ""))
        return [{**messages[0], "content": system}, *messages[1:]], 0

    def _system_text(self, text: str) -> str:
        assert self._template is not None
        before, tools = tool_prompt.split(text)
        # The prompt lists the tools itself where the template would leave them out.
        if tools and not self._template.writes_tools:
            return text
        return self._template.system(before, tools)

    def _appended(self, turn: Iterable[Segment]) -> list[int]:
        newline = (markup.NEWLINE,)
        return self._encode(chain(newline, turn, newline, self._header()))

    def _encode(self, segments: Iterable[Segment]) -> list[int]:
        return [token for segment in segments for token in self._segment(segment)]

    def _segment(self, segment: Segment) -> Sequence[int]:
        if not segment.tag:
            return self._text(segment.text, segment.trusted)
        known = self._ids[segment.text]
        return (known,) if known is not None else self._plain(segment.text)

    def _encode_text(self, text: str, trusted: bool) -> tuple[int, ...]:
        if not trusted:
            return self._untagged(text)
        # With one group in the pattern, `split` returns text and tags in turn: tags at the odd
        # places.
        pieces = _TOOL_TAGS.split(text)
        return tuple(
            chain.from_iterable(
                self._segment(Segment(piece, tag=True)) if number % 2 else self._untagged(piece)
                for number, piece in enumerate(pieces)
            )
        )

    def _untagged(self, text: str) -> tuple[int, ...]:
        """Text that spells a tag is encoded in two halves, so that it stays text."""
        cuts = [match.start() + 1 for match in self._tags.finditer(text)]
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return tuple(chain.from_iterable(map(self._plain, pieces)))

    def _plain(self, text: str) -> Sequence[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _pattern(tokenizer: Any) -> "re.Pattern[str]":
    """Everything that the tokenizer treats as a token of its own, and all of our tags."""
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    # Longest first: of alternatives that begin alike, a pattern takes the one that is listed first.
    tags = sorted({*markup.TAGS, *filter(None, added)}, key=len, reverse=True)
    return re.compile("|".join(re.escape(tag) for tag in tags))
