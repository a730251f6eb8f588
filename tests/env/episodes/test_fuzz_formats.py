"""Whatever a model of any family writes, the episode ends with a verdict that can be sent."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sea_data.formats import rl, shop_dataset
from sea_data.tiny_model import tokenizer
from sea_env.domains import registry
from sea_env.domains.shop.entities import Split
from sea_env.episodes.conversation import Conversation
from sea_env.episodes.episode import Done, Episode, NeedUser
from sea_env.episodes.limits import Limits, Stop
from sea_env.tokens import markup
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import CallFormat, Style, Thinking
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.verdict import Verdict, verify

SHOP = registry.get("shop")
TABLES = shop_dataset.databases(Split.TRAIN, 1, seed=0)["databases/train_000.json"]
DATABASE = SHOP.parse(json.dumps(TABLES).encode(), "x.json")
(ROW,) = shop_dataset.tasks(Split.TRAIN, {"databases/train_000.json": TABLES}, 1, seed=1)
TASK = rl.task(json.loads(ROW))
TOKENIZER = tokenizer.train(["user\n", "<function=", "</parameter>"] * 3, 300)
RENDERERS = {
    (calls, thinking): Renderer(TOKENIZER, Style(calls, thinking))
    for calls in CallFormat
    for thinking in Thinking
}
PIECES = st.sampled_from(
    [
        *markup.TAGS, "<function=find_user>", "</function>", "<parameter=email>", "</parameter>",
        '{"name":"find_user","arguments":{"email":"x"}}', "Hello.", "\n", "<", "null",
    ]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=12).map("".join)


def play(renderer: Renderer, texts: list[str], room: int = 4000) -> tuple[Verdict, Episode, Stop]:
    limits = Limits(max_turns=6, max_tokens_per_turn=room, context_length=room)
    conversation = Conversation(SHOP, SHOP.open(DATABASE), limits)
    episode = Episode(conversation, renderer, SHOP.system_prompt(), limits)
    user, written = ScriptedUser(TASK.scenario, seed=0), _endless(texts)
    effect = episode.start()
    while not isinstance(effect, Done):
        if isinstance(effect, NeedUser):
            effect = episode.on_user(user.say(effect.heard))
        else:
            ids = [*TOKENIZER.encode(next(written)).ids, renderer.end_id][: effect.max_tokens]
            effect = episode.on_agent(ids, [0.0] * len(ids), [0] * len(ids))
    verdict = verify(SHOP, TASK, conversation.environment, episode.transcript, effect.stop)
    return verdict, episode, effect.stop


def _endless(texts: list[str]) -> Iterator[str]:
    yield from texts
    while True:
        yield "</think>Goodbye."


@settings(max_examples=80)
@given(st.sampled_from(sorted(RENDERERS)), st.lists(TEXTS, min_size=1, max_size=5))
def test_any_text_in_any_style(family: tuple[Any, Any], texts: list[str]) -> None:
    verdict, episode, stop = play(RENDERERS[family], texts)
    assert verdict.reward in (0.0, 1.0)
    assert stop in Stop
    assert len(episode.tokens) == len(episode.mask) <= 4000
    assert msgspec.msgpack.encode([episode.transcript, verdict.parts])


@pytest.mark.parametrize("family", sorted(RENDERERS), ids=str)
def test_a_well_formed_call_of_each_style_reaches_its_tool(family: tuple[Any, Any]) -> None:
    renderer = RENDERERS[family]
    email = next(iter(TABLES["users"]))
    call = {"name": "find_user", "arguments": {"email": email}}
    message = {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [call]}
    text = renderer.decode(renderer.agent_turn(message)).removesuffix(markup.IM_END)
    _, episode, _ = play(renderer, [text])
    assert episode.transcript[1]["tool_calls"] == [call]
    assert not episode.transcript[2]["content"].startswith("Error"), episode.transcript[2]


@pytest.mark.component
def test_a_million_characters_in_a_call_end_with_a_verdict() -> None:
    renderer = RENDERERS[CallFormat.HERMES, Thinking.NONE]
    call = json.dumps({"name": "find_user", "arguments": {"email": "x" * 10**6}})
    text = f"{markup.TOOL_CALL}{call}{markup.TOOL_CALL_END}"
    verdict, episode, _ = play(renderer, [text] * 2, room=2_500_000)
    assert verdict.reward == 0.0
    assert episode.transcript[2]["content"].startswith("Error")
