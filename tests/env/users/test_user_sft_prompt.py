"""What UserSFT trains a user model on is what the served user model is prompted with."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sea_data.errors import RowError
from sea_data.formats import jsonl, rl, sft
from sea_data.formats.dialogue import Dialogue, dialogue, dialogue_row
from sea_data.formats.perspective import exchange
from sea_data.tiny_model import tokenizer
from sea_env.domains import registry
from sea_env.tokens.messages import Message
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import BRIEF, Style, Thinking
from sea_env.users.base import task_user_tools
from sea_env.users.model import ModelUser

TELECOM = registry.get("telecom")
SCENARIO = {
    "persona": "Old.",
    "instructions": {"domain": "telecom", "reason_for_call": "No service."},
}
LOOK = {"name": "check_status_bar", "arguments": {}}
TOGGLE = {"name": "toggle_airplane_mode", "arguments": {}}
HEARD: list[Message] = [
    {"role": "user", "content": "No service."},
    {"role": "assistant", "content": "Look at your phone."},
    {"role": "user", "content": "", "tool_calls": [LOOK]},
    {"role": "tool", "requestor": "user", "content": "Airplane Mode"},
    {"role": "user", "content": "Airplane mode is on."},
    {"role": "assistant", "content": "Switch it off and look again."},
    {"role": "user", "content": "", "tool_calls": [TOGGLE, LOOK]},
    {"role": "tool", "requestor": "user", "content": "Airplane Mode is now OFF."},
    {"role": "tool", "requestor": "user", "content": "5G"},
    {"role": "user", "content": "It says 5G."},
    {"role": "assistant", "content": "Good."},
]


def learned(user_tools: list[str] | None = None, scenario: Any = SCENARIO) -> Dialogue:
    row = dialogue_row("telecom_1", HEARD, scenario, 1.0, user_tools)
    return exchange(dialogue(json.loads(jsonl.dumps(row))))


@pytest.fixture(params=[BRIEF, Style(), Style(thinking=Thinking.OWN)], ids=str)
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300), request.param)


async def prompts(renderer: Renderer, user_tools: list[str] | None) -> list[list[int]]:
    """Prompts of the served user over the same dialogue, in which it says what is written."""
    spoken = [message for message in HEARD if message["role"] == "user"]
    asked: list[list[int]] = []

    async def generate(ids: Sequence[int], _: int) -> Sequence[int]:
        asked.append(list(ids))
        own = {**spoken[len(asked) - 1], "role": "assistant"} if len(asked) <= len(spoken) else None
        return renderer.agent_turn(own or {"role": "assistant", "content": "###STOP###"})

    task = rl.task({"id": "telecom_1", "user_scenario": SCENARIO, "user_tools": user_tools})
    tools = task_user_tools(TELECOM, task)
    user = ModelUser(
        SCENARIO, renderer, generate, context_length=50_000, max_tokens=500, tools=tools
    )
    for index, message in enumerate(HEARD):
        if message["role"] == "user":
            await user.reply(HEARD[:index])
    await user.reply(HEARD)
    return asked


@pytest.mark.parametrize("user_tools", [None, ["check_status_bar", "toggle_airplane_mode"]])
async def test_every_prompt_of_telecoms_served_user_is_a_prefix_of_what_it_learned(
    renderer: Renderer, user_tools: list[str] | None
) -> None:
    ids, mask = renderer.dialogue(learned(user_tools).messages)
    served = await prompts(renderer, user_tools)
    assert len(served) == 6
    assert "check_status_bar" in renderer.decode(served[0])
    assert ("reboot_device" in renderer.decode(served[0])) is (user_tools is None)
    for prompt in served:
        assert ids[: len(prompt)] == prompt
        assert mask[len(prompt)] == 1, "what comes next is trained"
        assert not mask[len(prompt) - 1]


def test_the_domain_comes_from_scenario_id_or_the_users_own_calls() -> None:
    plain: dict[str, Any] = {"instructions": {"reason_for_call": "No service."}}
    row = dialogue_row("d1", HEARD, plain, 1.0)
    by_calls = exchange(dialogue(row)).messages[0]["content"]
    assert by_calls == learned(scenario=plain).messages[0]["content"]
    assert "reboot_device" in by_calls
    silent = dialogue_row("d1", HEARD[:2], plain, 1.0)
    assert "# Tools" not in exchange(dialogue(silent)).messages[0]["content"]
    named = dialogue_row("telecom_1", HEARD[:2], plain, 1.0)
    assert "reboot_device" in exchange(dialogue(named)).messages[0]["content"]


def test_calls_of_no_known_domain_still_say_that_there_are_tools() -> None:
    odd = [HEARD[0], {**HEARD[2], "tool_calls": [{"name": "dance"}]}, *HEARD[3:]]
    row = dialogue_row("d1", odd, {"instructions": {"reason_for_call": "x"}}, 1.0)
    prompt = exchange(dialogue(row)).messages[0]["content"]
    assert "You have tools" in prompt
    assert "# Tools" not in prompt


def test_a_row_that_names_tools_by_numbers_is_refused() -> None:
    row = dialogue_row("telecom_1", HEARD, SCENARIO, 1.0)
    row["metadata"]["user_tools"] = [1]
    with pytest.raises(RowError, match=r"metadata.user_tools: must be a list of names"):
        dialogue(row)
    (bad,) = sft.load([("x.jsonl", [jsonl.dumps(row).encode()])], skip_bad=True).counts.bad
    assert bad.field == "metadata.user_tools"
