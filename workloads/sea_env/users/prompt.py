"""The system prompt of a user model, from a task's scenario. Pure.

The same function is used by the rollout's `ModelUser` and for the UserSFT data, so that the model
sees in production what it was trained on. The shop's is a dozen tokens long, for a tiny model.
"""

from collections.abc import Mapping
from typing import Any

from sea_env.users.base import Signal

_BRIEF_DOMAINS = frozenset({"shop"})

GREETING = "Hi! How can I help you today?"
"""What the agent is assumed to have said before a user model that needs an opening speaks; with
`greeting` the agent reads it too. The words are tau2-bench's (`DEFAULT_FIRST_AGENT_MESSAGE`)."""

# All rules of tau2-bench's guidelines for its user simulator, in words of our own: a user that
# plays by fewer is another user, and scores could not be compared. (Its data/tau2/user_simulator/
# simulation_guidelines.md and simulation_guidelines_tools.md.)
_GUIDELINES = f"""\
You are a customer who talks to a customer service agent. Play your part as the scenario says.
- Write one message at a time, short and natural; put the scenario's sentences into your own words.
- Tell only what the moment asks for; give further information when the agent asks for it.
- Do and want what the scenario says, nothing else, until all of it is settled.
- Never invent information that the scenario does not give; say that you don't know it.
- When your request is settled, write {Signal.STOP}.
- When the agent has said clearly that you are transferred to another person, write
  {Signal.TRANSFER}.
- When the scenario does not say enough to go on, write {Signal.OUT_OF_SCOPE}."""

_WITH_TOOLS = """\
You have tools: they are what you can do and see on your own side, such as on your phone.
- In one turn either write to the agent or call a tool, never both. The agent sees no call of yours
  and no result; tell what you found when it is asked for.
- Call a tool only when the agent asks you to do or to look at something, or when you can't answer a
  question without it. One thing at a time: if you are asked for several, say so.
- Ask the agent back if you don't know which call would do what it asked for.
- Say nothing about your side that a result hasn't shown you. If a call errs, correct it."""

_FIELDS = (
    ("reason_for_call", "Why you call"),
    ("known_info", "What you know"),
    ("unknown_info", "What you don't know"),
    ("task_instructions", "How you behave"),
    ("tone", "How you speak"),
)


def system_prompt(scenario: Mapping[str, Any], *, tools: bool = False) -> str:
    """`user_scenario` of a task as the prompt of the model that plays the user.

    `tools`: the user has tools of its own; their schemas are given separately.
    """
    instructions = scenario.get("instructions") or {}
    if isinstance(instructions, str):
        instructions = {"task_instructions": instructions}
    if instructions.get("domain") in _BRIEF_DOMAINS:
        return " ".join(_text(instructions[key]) for key, _ in _FIELDS if instructions.get(key))
    parts = [_GUIDELINES, _WITH_TOOLS] if tools else [_GUIDELINES]
    if scenario.get("persona"):
        parts.append(f"Who you are: {_text(scenario['persona'])}")
    parts.extend(
        f"{title}: {_text(instructions[key])}" for key, title in _FIELDS if instructions.get(key)
    )
    return "\n\n".join(parts)


def _text(value: Any) -> str:
    """Text as it is; lists and objects, which some task authors write, line by line."""
    if isinstance(value, Mapping):
        return "\n".join(f"- {key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(f"- {_text(item)}" for item in value)
    return str(value)
