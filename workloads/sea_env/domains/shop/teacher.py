"""The shop's scripted agent: reads the dialogue so far and follows the policy. Pure.

It plays the SFT dialogues, and in tests it proves that every task can be solved.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from sea_env.domains.shop.domain import CLOSING
from sea_env.domains.shop.scenario import Intent
from sea_env.tokens.messages import AgentTurn, Message, ToolCall, calls_of

ASK_ORDER = "Which order?"
ASK_EMAIL = "Your email?"
_ORDER = re.compile(r"\b([A-Z]\d)\b")
_EMAIL = re.compile(r"\b([A-Z][a-z]+\d@shop)\b")
_ADDRESS = re.compile(r"\b([A-Z][a-z]+ \d)\b")
_KEYWORDS = (
    ("cancel", Intent.CANCEL),
    ("refund", Intent.REFUND),
    (" to ", Intent.ADDRESS),
    (" at ", Intent.ADDRESS),
)
_NEEDED = {
    Intent.CANCEL: "pending",
    Intent.ADDRESS: "pending",
    Intent.REFUND: "delivered",
}


def turn(messages: Sequence[Message]) -> AgentTurn:
    """What the teacher says or calls next in its own dialogue."""
    said = " ".join(str(m["content"]) for m in messages if m["role"] == "user")
    order, email = _find(_ORDER, said), _find(_EMAIL, said)
    if not order:
        return AgentTurn(ASK_ORDER)
    if not email:
        return AgentTurn(ASK_EMAIL)
    results = _results(messages)
    if "find_user" not in results:
        return _call("find_user", email=email)
    if "get_order" not in results:
        return _call("get_order", order=order)
    return _settle(intent(said), order, _find(_ADDRESS, said), results)


def intent(said: str) -> Intent:
    """What the customer wants, by keyword."""
    return next((found for word, found in _KEYWORDS if word in said), Intent.TOTAL)


def _settle(wanted: Intent, order: str, address: str, results: dict[str, Any]) -> AgentTurn:
    state = results["get_order"]
    if wanted is Intent.TOTAL:
        return AgentTurn(f"It is {state['total']}. {CLOSING}.")
    if "transfer" in results:
        return AgentTurn(f"A colleague takes over. {CLOSING}.")
    if len(results) > 2:
        return AgentTurn(f"Done. {CLOSING}.")
    if state["status"] != _NEEDED[wanted]:
        return _call("transfer")
    if wanted is Intent.CANCEL:
        return _call("cancel_order", order=order)
    if wanted is Intent.REFUND:
        return _call("refund", order=order, amount=state["total"])
    return _call("change_address", order=order, address=address)


def _results(messages: Sequence[Message]) -> dict[str, Any]:
    """The last result of each tool that was called, by the tool's name."""
    names = [call["name"] for message in messages for call in calls_of(message)]
    contents = [str(message["content"]) for message in messages if message["role"] == "tool"]
    return {name: json.loads(content) for name, content in zip(names, contents, strict=True)}


def _find(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""


def _call(name: str, **arguments: Any) -> AgentTurn:
    return AgentTurn("", (ToolCall(name, arguments),))
