"""Simulated users: the script, the model at token level, the endpoint with its faults."""

import random
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from sea_data.tiny_model import tokenizer
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.domains.shop.customer import STOP, Customer
from sea_env.domains.shop.scenario import Intent, Opening, Script
from sea_env.episodes.conversation import Conversation, Over
from sea_env.episodes.limits import ENDED_BY_USER, Limits
from sea_env.tokens.messages import AgentTurn, Message
from sea_env.tokens.renderer import Renderer
from sea_env.users.base import Reply, Signal, UserUnavailableError, signal_in, spoken
from sea_env.users.model import ModelUser
from sea_env.users.openai_chat import ExternalUser
from sea_env.users.prompt import system_prompt
from sea_env.users.scripted import ScriptedUser
from sea_testing.chat_server import ChatServer

SCRIPT = Script(Intent.ADDRESS, "A7", "Kim5@shop", "Elm 5", Opening.NOTHING)


def agent(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize("opening", list(Opening))
def test_the_customer_gives_away_what_its_script_says(opening: Opening) -> None:
    script = Script(Intent.CANCEL, "A7", "Kim5@shop", "", opening)
    for seed in range(8):
        said = Customer(script, random.Random(seed)).say(None)
        assert ("A7" in said) == (opening is not Opening.NOTHING)
        assert ("Kim5@shop" in said) == (opening is Opening.BOTH)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("Which order?", "A7"),
        ("Your email?", "Kim5@shop"),
        ("To what address?", "Elm 5"),
        ("All done. Goodbye.", STOP),
        ("Blah", "understand"),
        ("", "understand"),
    ],
)
def test_the_customer_answers(asked: str, answer: str) -> None:
    assert answer in Customer(SCRIPT, random.Random(0)).say(asked)


def test_the_customer_leaves_an_agent_that_makes_no_sense() -> None:
    customer = Customer(SCRIPT, random.Random(0))
    assert [customer.say("Blah") == STOP for _ in range(3)] == [False, False, True]


def test_same_seed_same_words() -> None:
    said = {ScriptedUser(SCRIPT.scenario(), seed=3).say([]) for _ in range(5)}
    assert len(said) == 1


def test_a_scenario_without_a_script_is_read_out() -> None:
    user = ScriptedUser({"instructions": {"reason_for_call": "R", "known_info": "K"}}, seed=0)
    heard = [
        user.say([]),
        user.say(agent("Who?")),
        user.say(agent("Sure?")),
        user.say(agent("Ok.")),
    ]
    assert heard == ["R", "K", "Yes, please.", Signal.STOP]


def test_the_shops_prompt_is_short_and_others_explain_the_signals() -> None:
    assert system_prompt(SCRIPT.scenario()) == (
        "Send order A7 to Elm 5. Email Kim5@shop. First give nothing."
    )
    scenario = {"persona": "Terse.", "instructions": {"domain": "retail", "known_info": "Zip 1."}}
    long = system_prompt(scenario)
    assert all(text in long for text in ("Terse.", "Zip 1.", *Signal))
    assert "Be nice." in system_prompt({"instructions": "Be nice."})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("one message at a time", "one message at a time"),
        ("strictly follow the scenario", "what the scenario says, nothing else"),
        ("never make up information", "Never invent information"),
        ("no verbatim repetition", "your own words"),
        ("disclose progressively", "when the agent asks for it"),
        ("until the task is complete", "until all of it is settled"),
        ("transfer only when it was clearly indicated", "said clearly that you are transferred"),
        ("either a message or a call", "never both"),
        ("results are grounded", "that a result hasn't shown you"),
        ("call only if asked", "Call a tool only when the agent asks"),
        ("ask for clarification", "Ask the agent back"),
        ("one action at a time", "One thing at a time"),
        ("fix errors of calls", "If a call errs, correct it"),
    ],
)
def test_a_user_plays_by_every_rule_of_tau2benchs_guidelines(rule: str, words: str) -> None:
    text = " ".join(system_prompt({"instructions": "x"}, tools=True).split())
    assert words in text, rule


def test_instructions_may_be_lists_and_objects() -> None:
    instructions = {
        "domain": "retail",
        "known_info": {"email": "a@b", "orders": ["#W1"]},
        "unknown_info": ["The total."],
        "tone": "Curt.",
    }
    found = system_prompt({"persona": {"age": 70}, "instructions": instructions})
    for text in ("- email: a@b", "- #W1", "What you don't know: - The total.", "speak: Curt."):
        assert text in found
    assert "- age: 70" in found


def test_what_an_agent_writes_next_to_a_call_is_not_heard() -> None:
    call = {"name": "look", "arguments": {}}
    dialogue: list[Message] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [call]},
        {"role": "tool", "content": "{}"},
        {"role": "assistant", "content": "Done."},
    ]
    assert [turn["content"] for turn in spoken(dialogue)] == ["Hi", "Done."]


@pytest.mark.parametrize("signal", list(Signal))
async def test_every_signal_of_a_user_ends_the_dialogue(signal: Signal) -> None:
    shop = registry.get("shop")
    limits = Limits(max_turns=5, max_tokens_per_turn=1, context_length=1)
    empty = {"users": {}, "orders": {}, "desk": {"state": {"transferred": False}}}
    dialogue = Conversation(shop, shop.open(Database(empty)), limits)
    dialogue.user("Hi")
    dialogue.agent(AgentTurn("Yes?"))
    over = dialogue.user(f"That is all. {signal}")
    assert isinstance(over, Over)
    assert over.stop in ENDED_BY_USER
    assert over.stop.upper() in signal.replace("-", "").replace("#STOP", "#USERSTOP")


def test_signals_are_found_anywhere() -> None:
    assert signal_in("bye ###TRANSFER###.") is Signal.TRANSFER
    assert signal_in("bye") is None


async def test_the_model_sees_its_own_dialogue_as_growing_tokens() -> None:
    renderer = Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300))
    prompts: list[list[int]] = []
    answers = iter(["Cancel it.", "", "<think>The agent asks.</think>\n\nA7 ###STOP###"])

    async def generate(ids: Sequence[int], max_tokens: int) -> Sequence[int]:
        prompts.append(list(ids))
        return renderer.agent_turn({"role": "assistant", "content": next(answers)})

    user = ModelUser(SCRIPT.scenario(), renderer, generate, context_length=400, max_tokens=50)
    assert await user.reply([]) == "Cancel it."
    assert await user.reply(agent("Which?")) == Signal.STOP, "an empty answer ends the dialogue"
    assert await user.reply([*agent("Which?"), *agent("Hm?")]) == "A7 ###STOP###"
    assert prompts[1][: len(prompts[0])] == prompts[0]
    assert renderer.decode(prompts[1][len(prompts[0]) :]) == (
        "Cancel it.<|im_end|>\n<|im_start|>user\nWhich?<|im_end|>\n<|im_start|>assistant\n"
    )


async def test_a_model_without_room_stops() -> None:
    renderer = Renderer(tokenizer.train(["user\n"] * 3, 300))

    async def generate(ids: Sequence[int], max_tokens: int) -> Sequence[int]:
        raise AssertionError("there is no room")

    user = ModelUser(SCRIPT.scenario(), renderer, generate, context_length=10, max_tokens=50)
    assert await user.reply([]) == Signal.STOP


async def ask_endpoint(url: str, **address: Any) -> Reply:
    async with aiohttp.ClientSession() as session:
        endpoint = ChatEndpoint(session, Address(url=url, model="m", **address))
        heard = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
        return await ExternalUser(SCRIPT.scenario(), endpoint).reply(heard)


async def test_an_endpoint_gets_the_dialogue_with_roles_exchanged(chat_server: ChatServer) -> None:
    chat_server.answers.append(chat_server.message("<think>hm</think> Fine. "))
    assert await ask_endpoint(chat_server.url, api_key="k") == "Fine."
    (asked,) = chat_server.asked
    assert [m["role"] for m in asked["messages"]] == ["system", "user", "assistant", "user"]
    assert (asked["messages"][3]["content"], asked["model"]) == ("Yes?", "m")


async def test_a_user_that_says_nothing_is_asked_again_and_then_unavailable(
    chat_server: ChatServer,
) -> None:
    """An empty message is an endpoint's failure, not the end of a call that may have earned 1."""
    chat_server.answers += [chat_server.message(""), chat_server.message("Ok")]
    assert await ask_endpoint(chat_server.url, first_pause_s=0.0) == "Ok"
    chat_server.default = chat_server.message(None)
    with pytest.raises(UserUnavailableError, match="empty message"):
        await ask_endpoint(chat_server.url, first_pause_s=0.0)
