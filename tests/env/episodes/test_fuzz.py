"""Whatever tokens the model writes, the episode ends with a verdict that can be sent."""

import json
import random
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
from sea_env.episodes.limits import Limits
from sea_env.tokens.renderer import Renderer
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.verdict import verify
from sea_runtime.wire.rollouts import EpisodeResult, Trajectory

SHOP = registry.get("shop")
LIMITS = Limits(max_turns=5, max_tokens_per_turn=60, context_length=600)
TABLES = shop_dataset.databases(Split.TRAIN, 1, seed=0)["databases/train_000.json"]
DATABASE = SHOP.parse(json.dumps(TABLES).encode(), "x.json")
(ROW,) = shop_dataset.tasks(Split.TRAIN, {"databases/train_000.json": TABLES}, 1, seed=1)
TASK = rl.task(json.loads(ROW))
RENDERER = Renderer(tokenizer.train(["user\n", '{"name":"', '","arguments":{'] * 3, 300))

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
NAMES = st.sampled_from([tool.name for tool in SHOP.tools]) | st.text(max_size=5)
ARGUMENTS = st.dictionaries(st.sampled_from(["email", "order", "amount", "address", "x"]), VALUES)


def run(turns: list[list[int]]) -> EpisodeResult:
    conversation = Conversation(SHOP, SHOP.open(DATABASE), LIMITS)
    episode = Episode(conversation, RENDERER, SHOP.system_prompt(), LIMITS)
    user = ScriptedUser(TASK.scenario, seed=0)
    effect = episode.start()
    written = iter(turns)
    while not isinstance(effect, Done):
        if isinstance(effect, NeedUser):
            effect = episode.on_user(user.say(effect.heard))
        else:
            ids = next(written, [RENDERER.end_id])[: effect.max_tokens]
            effect = episode.on_agent(ids, [0.0] * len(ids), [0] * len(ids))
    verdict = verify(SHOP, TASK, conversation.environment, episode.transcript, effect.stop)
    packed = Trajectory.pack(episode.tokens, episode.mask, episode.logprobs, episode.versions)
    return EpisodeResult(
        lease_id="", pod="", incarnation="", reward=verdict.reward, error="",
        trajectory=packed.encode(), generated_tokens=episode.generated, turns=episode.turns,
        stop=effect.stop, transcript=episode.transcript, seconds=0.0, details=dict(verdict.parts),
    )  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 299), max_size=60), min_size=1, max_size=5))
def test_any_tokens(turns: list[list[int]]) -> None:
    assert msgspec.msgpack.encode(run(turns))


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=5))
def test_any_call(calls: list[tuple[str, dict[str, Any]]]) -> None:
    def text(name: str, arguments: dict[str, Any]) -> str:
        call = json.dumps({"name": name, "arguments": arguments})
        return f"<tool_call>{call}</tool_call><|im_end|>"

    turns = [RENDERER._tokenizer.encode(text(*call)).ids for call in calls]
    assert msgspec.msgpack.encode(run(turns))


@pytest.mark.parametrize("seed", range(3))
def test_tokens_stay_within_the_context(seed: int) -> None:
    rng = random.Random(seed)
    turns = [[rng.randrange(300) for _ in range(59)] + [RENDERER.end_id] for _ in range(9)]
    trajectory = run(turns).trajectory
    assert trajectory is not None
    assert len(Trajectory.decode(trajectory).token_ids()) <= LIMITS.context_length
