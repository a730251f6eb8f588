"""What the model wrote -> `AgentTurn`, whole or piece by piece, strictly.

Any text becomes a turn: text, calls, or a sentence on what was wrong; nothing raises. Called by
`Renderer.parse` on the decoded generation. Text cut anywhere gives the same turn.
"""

import re
from enum import Enum, auto

from sea_env.tokens.call_formats import XML_TAGS, MalformedError, Parameters, read_call
from sea_env.tokens.markup import (
    END_OF_TEXT,
    ENDS_A_CALL,
    IM_END,
    TAGS,
    THINK,
    THINK_END,
    TOOL_CALL,
    TOOL_CALL_END,
)
from sea_env.tokens.messages import MAX_CALLS, TOO_MANY_CALLS, AgentTurn, ToolCall
from sea_env.tokens.style import BRIEF, CallFormat, Style, Thinking


class _State(Enum):
    THINKING = auto()
    SPEAKING = auto()
    CALLING = auto()
    ENDED = auto()


_WATCHED = {
    _State.THINKING: (IM_END, END_OF_TEXT, THINK_END),
    _State.SPEAKING: TAGS,
    _State.CALLING: ENDS_A_CALL,
}
_CALL = re.compile(f"{re.escape(TOOL_CALL)}(.*?){re.escape(TOOL_CALL_END)}", re.DOTALL)
_PATTERNS = {
    state: re.compile("|".join(re.escape(tag) for tag in tags)) for state, tags in _WATCHED.items()
}


def parse(text: str, style: Style = BRIEF, parameters: Parameters | None = None) -> AgentTurn:
    """Reads one generation. Text after `<|im_end|>` is ignored; without that tag the turn is
    incomplete."""
    reader = TurnReader(style, parameters)
    reader.feed(text)
    return reader.close()


class TurnReader:
    """`feed` any number of pieces, then `close`. `parameters` type the arguments of XML calls."""

    def __init__(self, style: Style = BRIEF, parameters: Parameters | None = None) -> None:
        self.calls: list[ToolCall] = []
        """Calls whose end tag was read."""
        self.error = ""
        """The first thing that was wrong."""
        self._style, self._parameters = style, parameters or {}
        prompted = style.thinking is Thinking.PROMPTED
        self._state = _State.THINKING if prompted else _State.SPEAKING
        self._rest = ""
        self._thought: list[str] = []
        self._spoken: list[str] = []
        self._call: list[str] = []
        self._raw: list[str] = []

    def feed(self, piece: str) -> None:
        """Reads on; a piece may end in the middle of a tag."""
        text = self._rest + piece
        start = 0
        while self._state is not _State.ENDED:
            found = _PATTERNS[self._state].search(text, start)
            if found is None:
                break
            self._text(text[start : found.start()])
            self._tag(found.group())
            start = found.end()
        if self._state is _State.ENDED:
            self._rest = ""
            return
        held = _held_back(text, start, _WATCHED[self._state])
        self._text(text[start : len(text) - held])
        self._rest = text[len(text) - held :]

    def close(self) -> AgentTurn:
        """The turn, after the last piece."""
        complete = self._state is _State.ENDED
        if not complete:
            self._text(self._rest)
            self._wrong("The turn reached its token limit before it ended.")
        spoken = "".join(self._spoken).strip()
        # A model whose prompt ends with `<think>` may write the tag once more.
        thought = "".join(self._thought).strip().removeprefix(THINK).strip()
        self._lost_call(spoken, thought)
        if not spoken and not self.calls:
            self._wrong("The turn is empty: it has neither text nor a tool call.")
        if self.error:
            # No calls: of a turn that is wrong anywhere, none is carried out.
            return AgentTurn("".join(self._raw).strip(), (), complete, self.error, thought)
        return AgentTurn(spoken, tuple(self.calls), complete, "", thought)

    def _lost_call(self, spoken: str, thought: str) -> None:
        """A call where none is made must be neither said to the customer nor dropped."""
        if any(self._reads_as_call(inside) for inside in _CALL.findall(thought)):
            self._wrong("The turn makes a tool call within its thinking: close it, then call.")
        if self._style.calls is CallFormat.QWEN3_XML:
            stray = next((tag for tag in XML_TAGS if tag in spoken), "")
            if stray:
                self._wrong(f"The turn has {stray} outside of {TOOL_CALL} and {TOOL_CALL_END}.")
        elif spoken.startswith("{") and self._reads_as_call(spoken):
            self._wrong(f"The turn has a tool call without {TOOL_CALL} and {TOOL_CALL_END}.")

    def _reads_as_call(self, text: str) -> bool:
        try:
            read_call(text, self._style, self._parameters)
        except MalformedError:
            return False
        return True

    def _wrong(self, sentence: str) -> None:
        self.error = self.error or sentence

    def _text(self, text: str) -> None:
        if self._state is _State.THINKING:
            self._thought.append(text)
            return
        self._raw.append(text)
        (self._call if self._state is _State.CALLING else self._spoken).append(text)

    def _tag(self, tag: str) -> None:
        if tag in (IM_END, END_OF_TEXT):
            if tag == END_OF_TEXT:  # a base model's end: the turn has ended, though not as it must
                self._wrong(f"The turn has {END_OF_TEXT}: end it with {IM_END}.")
            self._end()
        elif self._state is _State.THINKING:
            self._state = _State.SPEAKING
        elif self._state is _State.CALLING:
            self._raw.append(tag)
            self._called()
        elif tag == THINK and not self._begun():
            # Only white space was read so far (`_begun`): it belongs to no answer.
            self._raw.clear()
            self._spoken.clear()
            self._state = _State.THINKING
        else:
            self._raw.append(tag)
            self._stray(tag)

    def _begun(self) -> bool:
        return bool(self.calls or self._thought or self.error or "".join(self._spoken).strip())

    def _stray(self, tag: str) -> None:
        """A tag between texts: a call begins, or it should not be there."""
        if tag == TOOL_CALL:
            self._state = _State.CALLING
        elif tag == TOOL_CALL_END:
            self._wrong("The turn closes a tool call that it did not open.")
        elif tag == THINK_END:
            self._wrong("The turn closes its thinking without having opened it.")
        elif tag == THINK:
            self._wrong("The turn opens its thinking in the middle: think first, then answer.")
        else:
            self._wrong(f"The turn contains the reserved tag {tag}.")

    def _called(self) -> None:
        inside = "".join(self._call)
        self._call.clear()
        self._state = _State.SPEAKING
        if len(self.calls) == MAX_CALLS:
            self._wrong(TOO_MANY_CALLS)
            return
        try:
            self.calls.append(read_call(inside, self._style, self._parameters))
        except MalformedError as error:
            self._wrong(str(error))

    def _end(self) -> None:
        if self._state is _State.THINKING:
            self._wrong("The turn opens its thinking and does not close it.")
        if self._state is _State.CALLING:
            self._wrong("The turn opens a tool call and does not close it.")
        self._state = _State.ENDED


def _held_back(text: str, start: int, tags: tuple[str, ...]) -> int:
    """How many characters at the end may be the beginning of a tag."""
    longest = max(len(tag) for tag in tags) - 1
    for size in range(min(longest, len(text) - start), 0, -1):
        if any(tag.startswith(text[len(text) - size :]) for tag in tags):
            return size
    return 0
