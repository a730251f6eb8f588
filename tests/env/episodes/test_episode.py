"""One episode at token level: exact prefixes, caps, stops, and the teacher earning its reward."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from sea_data.formats import rl, sft, shop_dataset
from sea_data.tiny_model import tokenizer
from sea_env.domains import registry
from sea_env.domains.base import Environment
from sea_env.domains.shop import teacher
from sea_env.domains.shop.entities import Split
from sea_env.episodes.conversation import Conversation
from sea_env.episodes.episode import Done, Effect, Episode, NeedGeneration, NeedUser
from sea_env.episodes.limits import Limits, Stop
from sea_env.tasks.task import Task
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import Style, Thinking
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.verdict import verify

SHOP = registry.get("shop")
LIMITS = Limits(max_turns=9, max_tokens_per_turn=40, context_length=256)
TABLES = shop_dataset.databases(Split.TEST, 1, seed=0)["databases/test_000.json"]
DATABASE = SHOP.parse(json.dumps(TABLES).encode(), "x.json")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    lines = [line.encode() for line in shop_dataset.dialogues(Split.TRAIN, 200, seed=0)]
    dialogues = sft.load([("sft", lines)]).dialogues
    return Renderer(tokenizer.train(tokenizer.texts(tokenizer.both_sides(dialogues)), 1024))


def tasks(count: int) -> list[Task]:
    rows = shop_dataset.tasks(Split.TEST, {"databases/test_000.json": TABLES}, count, seed=1)
    found = list(rl.read((row.encode() for row in rows), "rl_test.jsonl"))
    return [task for task in found if isinstance(task, Task)]


def begin(renderer: Renderer, limits: Limits = LIMITS) -> tuple[Episode, Environment]:
    conversation = Conversation(SHOP, SHOP.open(DATABASE), limits)
    return (
        Episode(conversation, renderer, SHOP.system_prompt(), limits),
        conversation.environment,
    )


def write(episode: Episode, ids: Sequence[int], version: int = 0) -> Effect:
    return episode.on_agent(ids, [-0.5] * len(ids), [version] * len(ids))


def say(episode: Episode, renderer: Renderer, text: str) -> Effect:
    return write(episode, renderer.agent_turn({"role": "assistant", "content": text}))


def test_the_teacher_earns_every_reward(renderer: Renderer) -> None:
    rng = random.Random(0)
    for task in tasks(100):
        episode, environment = begin(renderer)
        user = ScriptedUser(task.scenario, rng.getrandbits(32))
        effect = episode.start()
        while not isinstance(effect, Done):
            if isinstance(effect, NeedUser):
                effect = episode.on_user(user.say(effect.heard))
            else:
                turn = teacher.turn(episode.transcript).as_message()
                effect = write(episode, renderer.agent_turn(turn))
        verdict = verify(SHOP, task, environment, episode.transcript, effect.stop)
        assert (effect.stop, verdict.reward) == (Stop.USER_STOP, 1.0)
        assert verdict.parts == {"DB": 1.0, "COMMUNICATE": 1.0}
        system = {"role": "system", "content": SHOP.system_prompt()}
        expected, mask = renderer.dialogue([system, *episode.transcript[:-1]])
        assert (episode.tokens, episode.mask) == (expected, mask)
        assert episode.generated == sum(mask)


def test_prompts_grow_by_exact_prefixes(renderer: Renderer) -> None:
    episode, _ = begin(renderer)
    assert episode.start() == NeedUser(())
    first = episode.on_user("Hello")
    assert isinstance(first, NeedGeneration)
    before = list(first.prompt)
    heard = say(episode, renderer, "Which order?")
    assert isinstance(heard, NeedUser)
    assert [turn["content"] for turn in heard.heard] == ["Hello", "Which order?"]
    second = episode.on_user("A7")
    assert isinstance(second, NeedGeneration)
    assert second.prompt[: len(before)] == before
    assert renderer.decode(second.prompt[len(before) :]) == (
        "Which order?<|im_end|>\n<|im_start|>user\nA7<|im_end|>\n<|im_start|>assistant\n"
    )


def test_generated_tokens_carry_logprobs_and_versions(renderer: Renderer) -> None:
    episode, _ = begin(renderer)
    episode.on_user("Hello")
    ids = renderer.agent_turn({"role": "assistant", "content": "Which order?"})
    write(episode, [*ids, 1, 2, 3], version=7)
    assert len({len(x) for x in (episode.tokens, episode.mask, episode.logprobs)}) == 1
    generated = [v for v, on in zip(episode.versions, episode.mask, strict=True) if on]
    assert generated == [7] * len(ids), "what follows the end tag is dropped"
    others = {v for v, on in zip(episode.versions, episode.mask, strict=True) if not on}
    assert others == {-1}


CALL = '<tool_call>{"name":"get_order","arguments":{"order":"A7"}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("<tool_call>{nope</tool_call><|im_end|>", Stop.BAD_FORMAT),
        ("<|im_end|>", Stop.BAD_FORMAT),
        ("Which order", Stop.TURN_TOO_LONG),
        (f"{CALL}<|im_end|>", Stop.LOOP),
    ],
)
def test_stops_that_the_agent_causes(renderer: Renderer, text: str, stop: Stop) -> None:
    episode, environment = begin(renderer)
    effect = episode.on_user("Hello")
    ids = renderer._tokenizer.encode(text).ids
    while isinstance(effect, NeedGeneration):
        effect = write(episode, ids)
    assert effect == Done(stop)
    task = tasks(1)[0]
    assert verify(SHOP, task, environment, episode.transcript, stop).reward == 0.0


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("###STOP###", Stop.USER_STOP),
        ("Bye ###TRANSFER###", Stop.TRANSFER),
        ("###OUT-OF-SCOPE###", Stop.OUT_OF_SCOPE),
    ],
)
def test_the_user_ends_it(renderer: Renderer, text: str, stop: Stop) -> None:
    episode, _ = begin(renderer)
    episode.on_user("Hello")
    say(episode, renderer, "Goodbye")
    assert episode.on_user(text) == Done(stop)


def test_turns_are_capped(renderer: Renderer) -> None:
    episode, _ = begin(renderer)
    effect = episode.on_user("Hello")
    turns = 0
    while not isinstance(effect, Done):
        if isinstance(effect, NeedUser):
            effect = episode.on_user("Go on")
        else:
            turns += 1
            effect = say(episode, renderer, f"Number {turns}")
    assert (effect.stop, turns) == (Stop.MAX_TURNS, LIMITS.max_turns)


def test_context_is_never_exceeded(renderer: Renderer) -> None:
    limits = Limits(max_turns=100, max_tokens_per_turn=30, context_length=120)
    episode, _ = begin(renderer, limits)
    effect = episode.on_user("Hello")
    while not isinstance(effect, Done):
        if isinstance(effect, NeedUser):
            effect = episode.on_user("Please cancel my order. " * 3)
        else:
            assert len(effect.prompt) + effect.max_tokens <= limits.context_length
            effect = say(episode, renderer, f"Which order? {episode.turns}")
    assert effect.stop is Stop.CONTEXT_FULL
    assert len(episode.tokens) <= limits.context_length
    assert episode.mask[-1] == 1, "nothing is appended that no generation follows"


@pytest.mark.component
def test_a_million_character_argument_costs_only_the_call(renderer: Renderer) -> None:
    episode, environment = begin(renderer)
    episode.on_user("Hello")
    call = {"name": "find_user", "arguments": {"email": "x" * 1_000_000}}
    effect = write(
        episode,
        renderer.agent_turn({"role": "assistant", "content": "", "tool_calls": [call]}),
    )
    assert effect == Done(Stop.CONTEXT_FULL)
    assert environment.changes() == []


def test_a_text_of_the_user_begins_a_sample_where_thoughts_are_stripped(
    renderer: Renderer,
) -> None:
    style = Style(thinking=Thinking.OWN, strips_thoughts=True)
    stripping = Renderer(renderer._tokenizer, style)
    conversation = Conversation(SHOP, SHOP.open(DATABASE), LIMITS)
    limits = replace(LIMITS, context_length=1024)
    episode = Episode(conversation, stripping, SHOP.system_prompt(), limits)
    episode.start()
    asked = []
    for text in ("Where is it?", "And now?"):
        effect = episode.on_user(text)
        assert isinstance(effect, NeedGeneration)
        asked.append(list(effect.prompt))
        turn = {"role": "assistant", "content": f"To {text}", "thinking": f"Of {text}"}
        write(episode, stripping.agent_turn(turn))
    bounds = [0, *episode.starts, len(episode.tokens)]
    samples = [episode.tokens[a:b] for a, b in pairwise(bounds)]
    assert [one[: len(prompt)] for one, prompt in zip(samples, asked, strict=True)] == asked
    assert "Of Where" in stripping.decode(samples[0])
    assert "Of Where" not in stripping.decode(samples[1])
    assert "To Where" in stripping.decode(samples[1])
    trained = [t for t, on in zip(episode.tokens, episode.mask, strict=True) if on]
    assert stripping.decode(trained).count("<think>") == 2, "both turns are trained once"


@pytest.mark.parametrize("strips", [False, True])
def test_every_token_gets_the_experts_that_computed_it(renderer: Renderer, strips: bool) -> None:
    """The engine names those from `recorded` on; a sample's last token has none of its own."""
    style = Style(thinking=Thinking.OWN, strips_thoughts=strips)
    own = Renderer(renderer._tokenizer, style)
    limits = replace(LIMITS, context_length=1024)
    conversation = Conversation(SHOP, SHOP.open(DATABASE), limits)
    episode = Episode(conversation, own, SHOP.system_prompt(), limits)
    episode.start()
    for text in ("Where is it?", "And now?", "Hm."):
        effect = episode.on_user(text)
        assert isinstance(effect, NeedGeneration)
        ids = own.agent_turn({"role": "assistant", "content": f"To {text}"})
        # Two tokens after the end tag, which the episode drops.
        made = [*ids, 5, 6]
        computed = [*effect.prompt, *made][effect.recorded : -1]
        named = [token.to_bytes(2, "little") for token in computed]
        episode.on_agent(made, [-0.5] * len(made), [0] * len(made), named)
    wanted = [token.to_bytes(2, "little") for token in episode.tokens]
    for end in [*episode.starts, len(wanted)]:
        wanted[end - 1] = wanted[end - 2]
    assert len(episode.starts) == (2 if strips else 0)
    assert episode.experts_of_all() == wanted


def test_without_experts_an_episode_has_none(renderer: Renderer) -> None:
    episode, _ = begin(renderer)
    episode.start()
    episode.on_user("Where is it?")
    say(episode, renderer, "On its way.")
    assert episode.experts_of_all() == []


def test_a_sample_that_does_not_fit_ends_the_episode_without_it(renderer: Renderer) -> None:
    style = Style(thinking=Thinking.OWN, strips_thoughts=True)
    stripping = Renderer(renderer._tokenizer, style)
    conversation = Conversation(SHOP, SHOP.open(DATABASE), LIMITS)
    prompt = len(stripping.opening(SHOP.system_prompt(), [{"role": "user", "content": "Hm?"}]))
    limits = replace(LIMITS, context_length=prompt + 30)
    episode = Episode(conversation, stripping, SHOP.system_prompt(), limits)
    episode.start()
    episode.on_user("Hm?")
    write(episode, stripping.agent_turn({"role": "assistant", "content": "Go on."}))
    assert episode.on_user("x" * 100) == Done(Stop.CONTEXT_FULL)
    assert episode.starts == []
