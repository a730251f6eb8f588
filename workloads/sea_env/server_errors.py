"""What an OpenAI-compatible server means by an error, from its status, type, code or words. Pure.

`chat` decides by `ServerError.kind` whether to ask again, to change the request (`request_form`) or
to give up. A machine-readable type, code or parameter comes first; words are read where a server
has none (TGI, Ollama, LM Studio, Gemini) and are those that `tests/env/test_server_errors.py` lists
with their source.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_BUSY_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529}) | frozenset(
    range(520, 525)  # Cloudflare's, about the server behind it
)
_MAX_SHOWN = 300


class Kind(StrEnum):
    """What to do about an error."""

    CONTEXT_FULL = "ContextFull"
    """The prompt alone doesn't fit the model's context: no answer is possible."""
    ANSWER_TOO_LONG = "AnswerTooLong"
    """The prompt fits, but not with `max_tokens` behind it: ask for fewer."""
    UNSUPPORTED = "Unsupported"
    """A parameter that this model doesn't take: ask without it, or by its other name."""
    MISSING = "Missing"
    """Thoughts that this server wants back in every message of the model."""
    EMPTY_MESSAGE = "EmptyMessage"
    """A message without text, which this server refuses: send it with some."""
    TEXT_ARGUMENTS = "TextArguments"
    """Arguments of calls as a text, as OpenAI has them: its chat template wants objects."""
    TOOL_SCHEMA = "ToolSchema"
    """Keywords of JSON schema that it doesn't know: write the tools without them."""
    NO_SYSTEM = "NoSystem"
    """A system message, which this model has no role for: write it before the user's first."""
    USER_FIRST = "UserFirst"
    """A dialogue that the model begins, with a greeting: its template wants a user's message."""
    RATE_LIMITED = "RateLimited"
    """Too many requests or tokens for now: wait as long as the server asks."""
    UNREADABLE = "Unreadable"
    """The model wrote a call that the server itself can't read: the model's mistake."""
    UNPARSED = "Unparsed"
    """The server's parser failed on the model's turn, which may have been right: ask again."""
    BUSY = "Busy"
    """Overloaded, restarting or broken: ask again."""
    REFUSED = "Refused"
    """Wrong in a way that no repetition cures."""


@dataclass(frozen=True)
class ServerError:
    """One error reply."""

    status: int
    kind: Kind
    message: str
    """The server's own words, cut."""
    room: int | None = None
    """With ANSWER_TOO_LONG: tokens that fit behind the prompt; None if the server doesn't say."""
    parameter: str = ""
    """With UNSUPPORTED: its name in the request; with TOOL_SCHEMA the keywords, a space between."""


_FULL_NAMES = frozenset(
    {
        "context_length_exceeded",  # OpenAI, Azure, Groq, TensorRT-LLM
        "context_window_exceeded",
        "contextwindowexceedederror",  # LiteLLM
        "exceed_context_size_error",  # llama.cpp
        "model_context_window_exceeded",  # Anthropic
        "1261",  # Zhipu
        "3051",  # Mistral
    }
)
_FULL_PARAMETERS = frozenset({"input_tokens", "input_text"})
"""What vLLM names as the wrong parameter of a request whose prompt is too long."""
_FULL_TEXT = re.compile(
    r"maximum context length"
    r"|longer than the model'?s context length"
    r"|exceeds? (?:the )?(?:available|model'?s?|max(?:imum)?)?\s*context (?:size|length|limit)"
    r"|exceeds the context window|context window exceeds limit|ContextWindowExceededError"
    r"|longer than the maximum model length of"
    r"|must be less than max_seq_len"
    r"|exceeded max context length"
    r"|greater than the context length"
    r"|exceeds the maximum (?:number of tokens allowed|allowed (?:input )?length)"
    r"|`inputs` (?:tokens \+ `max_new_tokens` )?must (?:be|have)"
    r"|prompt is too long|input is too long for requested model|prompt exceeds max length"
    r"|maximum prompt length is|exceeded model token limit|range of input length should be"
    r"|too large for model with \d+ maximum context length"
    r"|total number of tokens in the prompt cannot exceed",
    re.IGNORECASE,
)
_ROOM = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI, DeepSeek, vLLM to 0.9 and OpenRouter.
        r"maximum context length is (?P<limit>\d+) tokens.*?\((?P<prompt>\d+) (?:in the messages"
        r"|of text input)(?:, (?P<more>\d+) (?:in the functions|of tool input))?",
        # vLLM 0.10 to 0.14.
        r"maximum context length is (?P<limit>\d+) tokens and your request has (?P<prompt>\d+) in",
        # vLLM from 0.15 on; "at least": it stopped counting (`_UNCOUNTED`).
        r"maximum context length is (?P<limit>\d+) tokens.*? (?P<prompt>\d+) input tokens",
        # SGLang.
        r"context length of (?P<limit>\d+) tokens.*?(?P<prompt>\d+) tokens from the input",
        # TGI, and Together, which runs it.
        r"must be <= (?P<limit>\d+)\. Given: (?P<prompt>\d+) `inputs`",
        # Anthropic.
        r"exceed context limit: (?P<prompt>\d+) \+ \d+ > (?P<limit>\d+)",
    )
)
_UNCOUNTED = re.compile(
    r"requested \d+ output tokens and your prompt contains at least", re.IGNORECASE
)
_MISSING_TEXT = re.compile(
    r"missing [`'\"]?reasoning_content"  # DeepSeek, through proxies too
    r"|reasoning_content[`'\"]? in the thinking mode must be passed back",
    re.IGNORECASE,
)
_UNREADABLE_TEXT = re.compile(
    r"^error parsing tool call: "  # Ollama
    r"|[\"']tool_use_failed[\"']",  # Groq, as LiteLLM passes its body on
    re.IGNORECASE,
)
_EMPTY_TEXT = re.compile(
    r"must have either content or tool_calls"  # Mistral
    r"|invalid assistant message: (?:role=.*content=None|content or tool_calls must be set)"
    # vLLM with Mistral's tokenizer, DeepSeek
    r"|must (?:have|include) non-empty content|text content blocks must (?:be non-empty|contain)"
    r"|text field in the ContentBlock object at \S+ is blank"  # Bedrock
    r"|with role ['\"]?\w+['\"]? must not be empty"  # Moonshot
    r"|content\S*: expected a string, got null"  # OpenAI
    r"|invalid message content type: <nil>"  # Ollama
    r"|messages\.\d+\.content\.\d+\.text\.text: Field required",
    re.IGNORECASE,
)
_TEXT_ARGUMENTS_TEXT = re.compile(
    "can only get item pairs from a mapping"  # Jinja2: omlx, tabbyAPI, vllm-mlx
    r"|filter 'items' for type String",  # llama.cpp's own Jinja
    re.IGNORECASE,
)
"""Of Qwen's templates since Qwen3-Coder, in servers that pass messages on as they came."""
_KEYWORD = re.compile(
    r"unknown name \\*[\"']([$\w]+)\\*[\"'] at \\*[\"']tools[^:]*: cannot find field", re.IGNORECASE
)
"""Gemini's. With other words behind the place it knows the name and refuses its value."""
_NO_SYSTEM_TEXT = re.compile(
    r"system role (?:is )?not supported"  # Gemma's and older Mistral's templates
    r"|messages\[\d+\]\.role['\"]? does not support ['\"]system"  # OpenAI's first o1
    r"|developer instruction is not enabled",  # Gemma in Gemini's API
    re.IGNORECASE,
)
_USER_FIRST_TEXT = re.compile(
    r"roles must alternate user/assistant"  # Mistral's and Gemma's templates
    r"|(?:first message must use the|must start with a) [\"']?user"  # Anthropic, Bedrock
    r"|first message (?:should|must) (?:always )?be from (?:the )?user",
    re.IGNORECASE,
)
_UNPARSED_TEXT = re.compile(
    r"model produced output that does not match the expected", re.IGNORECASE
)
"""llama.cpp's `common_chat_peg_parse`, which also fails on text before a call, on `</parameter>` in
a value and on names with some characters (issues 20260, 27025 and 27733)."""
_BY_WORDS = (
    (Kind.UNPARSED, _UNPARSED_TEXT),
    (Kind.MISSING, _MISSING_TEXT),
    (Kind.TEXT_ARGUMENTS, _TEXT_ARGUMENTS_TEXT),
    (Kind.NO_SYSTEM, _NO_SYSTEM_TEXT),
    (Kind.USER_FIRST, _USER_FIRST_TEXT),
    (Kind.EMPTY_MESSAGE, _EMPTY_TEXT),
)
_NO_QUOTA = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"}
)
_OVER_BUDGET = re.compile(r"request too large", re.IGNORECASE)
_UNSUPPORTED_CODES = frozenset(
    {"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"}
)
_UNSUPPORTED_TEXT = re.compile(
    r"unsupported (?:parameter|value): ['\"`]?(?P<a>\w+)"
    r"|(?:property|parameter) ['\"`](?P<b>\w+)['\"`] is (?:unsupported|not supported)"
    r"|unknown name \\*[\"'](?P<c>\w+)"
    r"|unrecognized request argument supplied: (?P<d>\w+)"
    r"|[`'\"]?(?P<e>\w+)[`'\"]? is deprecated for this model"
    # A validation error's list that a server passes on as words.
    r"|'extra_forbidden', 'loc': \('body', '(?P<f>\w+)'",
    re.IGNORECASE,
)


def read(status: int, body: str) -> ServerError:
    """The meaning of an error's status and body, whatever form the body has."""
    found = _fields(body)
    message = found["message"] or body
    names = {found["code"].lower(), found["type"].lower()}
    kind, room, parameter = _kind(status, message, names, found["param"])
    return ServerError(status, kind, message[:_MAX_SHOWN], room, parameter)


def in_success(body: Any) -> int | None:
    """The status meant by a reply of status 200 that holds an error instead of choices.

    Proxies answer so when the server behind them fails; 502 if they name no status.
    """
    error = body.get("error") if isinstance(body, dict) and not body.get("choices") else None
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _kind(status: int, message: str, names: set[str], param: str) -> tuple[Kind, int | None, str]:
    """Kind, room and parameter."""
    if status == 429:
        # An empty account, or one request above the whole budget: no waiting cures either.
        final = names & _NO_QUOTA or _OVER_BUDGET.search(message)
        return (Kind.REFUSED if final else Kind.RATE_LIMITED), None, ""
    # Before all other words: these bodies quote what the model wrote, which may be anything.
    if "tool_use_failed" in names or _UNREADABLE_TEXT.search(message):
        return Kind.UNREADABLE, None, ""
    named = (kind for kind, words in _BY_WORDS if words.search(message))
    if kind := next(named, None):
        return kind, None, ""
    if keywords := _KEYWORD.findall(message):
        return Kind.TOOL_SCHEMA, None, " ".join(dict.fromkeys(keywords))
    unsupported = _unsupported(names, param, message)
    if status < 500 and unsupported:
        return Kind.UNSUPPORTED, None, unsupported
    # LM Studio and older llama.cpp answer 500: a full context comes before a busy server.
    if names & _FULL_NAMES or param in _FULL_PARAMETERS or _FULL_TEXT.search(message):
        return _full(message)
    return (Kind.BUSY if status in _BUSY_STATUSES else Kind.REFUSED), None, ""


def _full(message: str) -> tuple[Kind, int | None, str]:
    if _UNCOUNTED.search(message):
        return Kind.ANSWER_TOO_LONG, None, ""
    for pattern in _ROOM:
        if match := pattern.search(message):
            given = {name: int(text or 0) for name, text in match.groupdict().items()}
            room = given["limit"] - given["prompt"] - given.get("more", 0)
            if room > 0:
                return Kind.ANSWER_TOO_LONG, room, ""
            break
    return Kind.CONTEXT_FULL, None, ""


def _unsupported(names: set[str], param: str, message: str) -> str:
    """The parameter that the model doesn't take; empty if the error is about something else."""
    if names & _UNSUPPORTED_CODES and param:
        return param.rpartition(".")[2]
    match = _UNSUPPORTED_TEXT.search(message)
    return next(filter(None, match.groups()), "") if match else ""


def _fields(body: str) -> dict[str, str]:
    """message, type, code and param; empty texts where the body has none."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = {}
    # Gemini wraps its one error in a list.
    given = given[0] if isinstance(given, list) and given else given
    given = given if isinstance(given, dict) else {}
    inner = given.get("error") or given.get("detail") or given
    if isinstance(inner, list):  # FastAPI's validation errors
        return _validation(inner)
    if isinstance(inner, str):
        inner = {"message": inner, "type": given.get("error_type")}
    return {name: _text(inner, name) for name in ("message", "type", "code", "param")}


def _validation(errors: list[Any]) -> dict[str, str]:
    first = errors[0] if errors and isinstance(errors[0], dict) else {}
    place = first.get("loc")
    param = str(place[-1]) if isinstance(place, list) and place else ""
    return {
        "message": _text(first, "msg"),
        "type": _text(first, "type"),
        "code": "",
        "param": param,
    }


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value)
