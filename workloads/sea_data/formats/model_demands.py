"""What a dialogue asks of the model that is trained on it, beyond what every model's format holds.

Found from the dialogue alone, so that a coordinator or `sea data check` can compare it with a model
before anything loads that model. Pure.
"""

from enum import StrEnum

from sea_data.errors import RowError
from sea_data.formats.dialogue import Dialogue
from sea_env.tokens import markup
from sea_env.tokens.call_formats import is_xml_name
from sea_env.tokens.messages import Message, calls_of
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import CallFormat, Style

_XML = Style(CallFormat.QWEN3_XML)


class Demand(StrEnum):
    """What not every model offers."""

    LATER_SYSTEM = "LaterSystem"
    """A chat template that writes system messages after the first: Qwen3.5's and later refuse."""
    JSON_CALLS = "JSONCalls"
    """Calls as JSON: as XML (Qwen3-Coder, Qwen3.5) a call would be read back as another one."""


def demands(one: Dialogue) -> dict[Demand, RowError]:
    """What the dialogue, as one side trains on it, asks for, and the error where a model lacks it.

    Errors name the row's message, neither file nor dialogue.
    """
    found = {Demand.LATER_SYSTEM: _later_system(one), Demand.JSON_CALLS: _unreadable(one)}
    return {demand: error for demand, error in found.items() if error is not None}


def unmet(renderer: Renderer) -> frozenset[Demand]:
    """What the renderer's model doesn't offer."""
    offers = {
        Demand.LATER_SYSTEM: renderer.takes_later_system,
        Demand.JSON_CALLS: renderer.style.calls is not CallFormat.QWEN3_XML,
    }
    return frozenset(demand for demand, offered in offers.items() if not offered)


def _later_system(one: Dialogue) -> RowError | None:
    """Trained on it, a model would know prompts that nobody who serves it can send."""
    roles = (message["role"] for message in one.messages[1:])
    later = next((i for i, role in enumerate(roles, 1) if role == "system"), None)
    if later is None:
        return None
    return RowError(
        one.place(later),
        "is a system message after the first, which the model's chat template refuses or leaves "
        "out: write it into the first one, or as the user's",
    )


def _unreadable(one: Dialogue) -> RowError | None:
    """A call that is trained must be one that the agent's own reader reads back."""
    for index, message in enumerate(one.messages):
        for number, call in enumerate(calls_of(message) if message["role"] == "assistant" else ()):
            found = _ends_early(call)
            if found:
                return RowError(
                    f"{one.place(index)}.tool_calls[{number}]",
                    f"{found} as the model writes it, in XML: it could not be read back. Train "
                    "another model, or remove the row",
                )
    return None


def _ends_early(call: Message) -> str:
    tag = markup.spelled_in_call(call, _XML)
    if tag:
        return f"has {tag} in its name or arguments, which ends a call"
    names = [call["name"], *(call.get("arguments") or {})]
    wrong = next((name for name in names if not is_xml_name(name)), None)
    return "" if wrong is None else f"has the name {wrong!r}, which is no name"
