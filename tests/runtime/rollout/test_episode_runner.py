"""One lease to one result: dialogues that end early, late or never, and verdicts that can't be."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import numpy as np
import pytest

from sea_api.v1alpha1.verifier import FunctionLimits, Judge
from sea_data.tiny_model import tokenizer
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.tokens.messages import Message
from sea_env.tokens.renderer import Renderer
from sea_env.users.openai_chat import ExternalUser
from sea_env.verify.sandbox import pool
from sea_env.verify.sandbox.pool import Sandboxes
from sea_env.verify.sandbox.process import SandboxError
from sea_runtime.rollout import episode_runner
from sea_runtime.rollout.databases import DomainData
from sea_runtime.rollout.episode_runner import EpisodeRunner
from sea_runtime.rollout.generation import Generation
from sea_runtime.rollout.scoring import Scoring
from sea_runtime.rollout.settings import Identity
from sea_runtime.wire.rollouts import (
    EpisodeKind,
    EpisodeResult,
    Lease,
    Trajectory,
)
from sea_runtime.wire.rollouts import UserSettings as User
from sea_testing.chat_server import ChatServer
from sea_testing.waiting import HANG_S

SHOP = registry.get("shop")
RENDERER = Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300))
CALL = {"tool_calls": [{"name": "find_user", "arguments": {"email": "x"}}]}
TASK = {"id": "shop_1", "evaluation_criteria": {}}


def lease(**changes: Any) -> Lease:
    given = Lease(
        lease_id="l",
        kind=EpisodeKind.TRAIN,
        group_id="g",
        sample=0,
        domain="shop",
        task=TASK,
        database="s3://b/db.json",
        seed=0,
        temperature=1.0,
        max_tokens_per_turn=400,
        max_turns=6,
        context_length=8192,
        user=User(engine="Scripted"),
    )
    return given.model_copy(update=changes)


class Worlds:
    async def load(self, *_: Any) -> DomainData:
        tables = {"users": {}, "orders": {}, "desk": {"state": {"transferred": False}}}
        return DomainData(Database(tables), "Be brief.")


class Agent:
    """Writes the same message every turn, or the text that a function makes of its number."""

    def __init__(self, writes: Any) -> None:
        self._writes, self._turn = writes, 0

    async def generate(
        self, prompt: Sequence[int], *, experts_from: int | None = None, **_: Any
    ) -> Generation:
        given = self._writes(self._turn) if callable(self._writes) else self._writes
        message = {"content": given} if isinstance(given, str) else given
        self._turn += 1
        ids = RENDERER.agent_turn({"role": "assistant", "content": "", **message})
        # An engine's answer to what it is asked for: two bytes that name the token.
        computed = [] if experts_from is None else [*prompt, *ids][experts_from:-1]
        experts = tuple(token.to_bytes(2, "little") for token in computed)
        return Generation(ids, [-1.0] * len(ids), [3] * len(ids), "stop", experts)


class Talker:
    def __init__(self, text: Callable[[int], str]) -> None:
        self._text = text

    async def reply(self, heard: Sequence[Message]) -> str:
        return self._text(len(heard))


class Users:
    def __init__(self, user: Any) -> None:
        self._user = user

    def user(self, *_: Any) -> Any:
        return self._user


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def run(http: aiohttp.ClientSession) -> AsyncIterator[Any]:
    box = Sandboxes()

    async def one(
        agent: Any, user: Any, *, router_replay: bool = False, **changes: Any
    ) -> EpisodeResult:
        runner = EpisodeRunner(
            Identity("pod", "life"),
            Agent(agent),  # type: ignore[arg-type]
            RENDERER,
            Users(user),
            Worlds(),  # type: ignore[arg-type]
            Scoring(http, box),
            router_replay=router_replay,
        )
        return await runner.run(lease(**changes))

    yield one
    await box.close()


LEAVES_AT_ONCE = Talker(lambda _: "Never mind. ###STOP###")
NEVER_STOPS = Talker(lambda heard: f"And another thing, number {heard}.")
STOPS_SECOND = Talker(lambda heard: "Hello?" if not heard else "Bye ###STOP###")


@pytest.mark.parametrize(
    ("kind", "replays", "recorded"),
    [
        (EpisodeKind.TRAIN, True, True),
        (EpisodeKind.TRAIN, False, False),
        (EpisodeKind.EVAL, True, False),
    ],
)
async def test_a_trajectory_that_is_trained_on_names_the_experts_of_its_tokens(
    run: Any, kind: EpisodeKind, replays: bool, recorded: bool
) -> None:
    """With router replay; an evaluation isn't trained on."""
    result = await run("Hello.", NEVER_STOPS, router_replay=replays, kind=kind)
    assert result.turns == 6
    trajectory = Trajectory.decode(result.trajectory)
    if not recorded:
        assert trajectory.experts == b""
        return
    tokens = trajectory.token_ids()
    named = np.frombuffer(trajectory.experts, "<u2")
    assert named[:-1].tolist() == tokens[:-1].tolist()
    assert named[-1] == tokens[-2]


async def test_more_experts_than_a_result_may_have_are_left_out(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator would refuse the whole result."""
    monkeypatch.setattr(episode_runner, "MAX_EXPERT_BYTES", 100)
    result = await run("Hello.", NEVER_STOPS, router_replay=True, kind=EpisodeKind.TRAIN)
    trajectory = Trajectory.decode(result.trajectory)
    assert trajectory.experts == b""
    assert len(trajectory.token_ids()) > 50


async def test_a_user_that_hangs_up_first_gives_no_verdict(run: Any) -> None:
    """Its database is as the task wants it, for nothing that the agent did."""
    result = await run("Hello.", LEAVES_AT_ONCE)
    assert (result.reward, result.stop, result.turns) == (None, "UserStop", 0)
    assert result.never_asked
    assert "The agent never had a turn: the user ended the dialogue first" in result.error
    assert (result.generated_tokens, result.trajectory) == (0, None)
    assert result.transcript == [{"role": "user", "content": "Never mind. ###STOP###"}]


async def test_a_first_prompt_that_fills_the_context_gives_no_verdict(run: Any) -> None:
    result = await run("Hello.", NEVER_STOPS, context_length=8)
    assert (result.reward, result.stop) == (None, "ContextFull")
    assert "first prompt doesn't fit the context" in result.error


async def test_an_episode_that_takes_too_long_has_no_verdict(run: Any) -> None:
    class Sleeper:
        async def reply(self, heard: Sequence[Message]) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    result = await run("Hello.", Sleeper(), timeout_s=0.01)
    assert (result.reward, result.stop) == (None, "")
    assert "took longer than episodeTimeoutSeconds (0.01 s)" in result.error


@pytest.mark.parametrize(
    ("limit", "stop"), [({"max_messages": 4}, "MaxMessages"), ({"max_repeats": 0}, "MaxTurns")]
)
async def test_limits_of_the_lease_end_the_dialogue(
    run: Any, limit: dict[str, int], stop: str
) -> None:
    """Without repeats counted, an agent that says the same for ever reaches the limit of turns."""
    talker = Talker(lambda _: "And?")
    result = await run("Hello.", talker, max_turns=5, **limit)
    assert (result.stop, result.reward) == (stop, 0.0)


async def test_each_turn_asks_with_a_seed_of_its_own(run: Any, http: aiohttp.ClientSession) -> None:
    async def seeds(lease_seed: int) -> list[int]:
        agent = Agent("Hello.")
        seen: list[int] = []
        plain = agent.generate

        async def noting(prompt: Sequence[int], *, seed: int, **more: Any) -> Generation:
            seen.append(seed)
            return await plain(prompt, **more)

        agent.generate = noting  # type: ignore[method-assign, assignment]
        runner = EpisodeRunner(
            Identity("pod", "life"),
            agent,  # type: ignore[arg-type]
            RENDERER,
            Users(NEVER_STOPS),
            Worlds(),  # type: ignore[arg-type]
            Scoring(http, Sandboxes()),
        )
        await runner.run(lease(max_turns=3, seed=lease_seed))
        return seen

    first, again, other = await seeds(1), await seeds(1), await seeds(2)
    assert first == again
    assert len(set(first + other)) == 6


@pytest.mark.component
@pytest.mark.parametrize(("mebibytes", "reward"), [(64, 0.0), (512, 1.0)])
async def test_the_leases_limits_apply_to_the_rows_function(
    run: Any, mebibytes: int, reward: float
) -> None:
    source = "def verify(episode): return len(bytearray(150_000_000)) > 0"
    task = {**TASK, "verification_function": source}
    limits = FunctionLimits(memory_bytes=mebibytes << 20)
    result = await run("Hello.", STOPS_SECOND, task=task, functions=limits)
    assert (result.error, result.reward) == ("", reward)
    assert ("memory" in str(result.details).lower()) is (reward == 0.0)


async def test_a_user_that_never_stops_is_ended_by_the_turn_limit(run: Any) -> None:
    result = await run(lambda turn: f"Yes {turn}?", NEVER_STOPS)
    assert (result.stop, result.turns, result.reward) == ("MaxTurns", 6, 0.0)


async def test_repeating_the_same_exchange_is_a_loop(run: Any) -> None:
    result = await run("Yes?", Talker(lambda _: "Hello?"), max_turns=50)
    assert (result.stop, result.turns) == ("Loop", 3)


@pytest.mark.parametrize("limit", [2, 4])
async def test_an_agent_that_repeats_one_call_is_in_a_loop(run: Any, limit: int) -> None:
    result = await run(CALL, STOPS_SECOND, max_turns=50, max_repeats=limit)
    assert (result.stop, result.turns, result.reward) == ("Loop", limit, 0.0)
    assert result.transcript[-1]["role"] == "tool", "the last call was made and answered"


@pytest.mark.component
async def test_a_million_characters_of_a_user_fill_the_context(run: Any) -> None:
    result = await run("Yes?", Talker(lambda heard: "Hello? " * (1 + 100_000 * heard)))
    assert (result.stop, result.reward, result.error) == ("ContextFull", 0.0, "")


@pytest.mark.component
async def test_a_function_gives_reward_and_reason(run: Any) -> None:
    source = "def verify(episode): return 0.5, 'half of it'"
    result = await run("Yes?", STOPS_SECOND, task={**TASK, "verification_function": source})
    assert result.reward == 0.5
    assert result.details["FUNCTION"] == 0.5
    assert result.details["reasons"] == {"FUNCTION": "half of it"}


async def test_a_broken_sandbox_is_no_verdict(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise SandboxError("No memory for a process.")

    monkeypatch.setattr(pool.FunctionSandbox, "run", broken)
    task = {**TASK, "verification_function": "def verify(episode): return 1"}
    result = await run("Yes?", STOPS_SECOND, task=task)
    assert (result.reward, result.trajectory) == (None, None)
    assert result.error == "No memory for a process."


NL_TASK = {
    "id": "shop_1",
    "evaluation_criteria": {"nl_assertions": ["Was kind."], "reward_basis": ["NL_ASSERTION"]},
}


async def test_without_a_judge_there_is_no_verdict(run: Any) -> None:
    result = await run("Yes?", STOPS_SECOND, task=NL_TASK)
    assert result.reward is None
    assert "spec.verifier.judge" in result.error


async def test_a_judge_that_refuses_is_no_verdict(run: Any, chat_server: ChatServer) -> None:
    chat_server.default = chat_server.status(401, "no key")
    judge = Judge(url=chat_server.url, model="m")
    result = await run("Yes?", STOPS_SECOND, task=NL_TASK, judge=judge)
    assert result.reward is None
    assert "401: no key" in result.error


async def test_a_judge_is_asked_with_its_own_key(
    run: Any, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEA_JUDGE_API_KEY", "key")
    body = '{"verdicts": [{"number": 1, "reason": "It was.", "met": true}]}'
    chat_server.answers.append(chat_server.message(body))
    judge = Judge(url=chat_server.url, model="m")
    result = await run("Yes?", STOPS_SECOND, task=NL_TASK, judge=judge)
    assert (result.reward, result.details["reasons"]) == (1.0, {"NL_ASSERTION": "It was."})
    assert chat_server.keys == ["Bearer key"]


@pytest.mark.parametrize("fault", ["hangs", "500", "nonsense"])
async def test_a_user_endpoint_that_fails_is_no_verdict(
    run: Any, http: aiohttp.ClientSession, chat_server: ChatServer, fault: str
) -> None:
    chat_server.default = {
        "hangs": None,
        "500": chat_server.status(500),
        "nonsense": chat_server.message(""),
    }[fault]
    timeout_s = 0.1 if fault == "hangs" else HANG_S
    address = Address(chat_server.url, "m", timeout_s=timeout_s, attempts=2, first_pause_s=0.0)
    result = await run("Yes?", ExternalUser({}, ChatEndpoint(http, address)))
    assert result.reward is None
    assert "The user has no reply" in result.error


async def test_a_domain_that_the_pods_lack_is_no_verdict(run: Any) -> None:
    """The coordinator's image may hold a package that the rollout's doesn't."""
    result = await run("Hello.", LEAVES_AT_ONCE, domain="my-library:library")
    assert result.reward is None
    assert "Python package my-library, which is not installed here" in result.error
    assert "spec.rollout.template.image" in result.error


async def test_cancelled_episodes_end(run: Any) -> None:
    """A pod that shuts down cancels its episodes; none may turn that into a result."""
    asked = asyncio.Event()

    class Silent:
        async def reply(self, _: Any) -> str:
            asked.set()
            await asyncio.Event().wait()
            return ""

    task = asyncio.ensure_future(run("Yes?", Silent()))
    await asyncio.wait_for(asked.wait(), HANG_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
