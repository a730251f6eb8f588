"""Which weight version the updater tries next, as a table; what it reports of one that failed."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import test_utils, web

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.rollout import weight_updater
from sea_runtime.rollout.engine_client import (
    EngineClient,
    EngineError,
    EngineTimeoutError,
    session,
)
from sea_runtime.rollout.engine_state import EngineState
from sea_runtime.rollout.weight_swap import PrefetchError
from sea_runtime.rollout.weight_updater import WeightUpdater, choose
from sea_runtime.wire.weights import (
    PEER,
    EngineCopy,
    FailedSource,
    FetchCause,
    NotFetched,
    PrefetchState,
    PrefetchStatus,
    Shard,
    WeightQueryReply,
    WeightVersion,
    WorkerCopy,
    WrongWeights,
)
from sea_testing.waiting import HANG_S


def version(number: int, attempt: int = 1, url: str | None = None) -> WeightVersion:
    shard = Shard(rank=0, nbytes=1, blocks=[], object_url=url)
    return WeightVersion(
        stream="policy", version=number, attempt=attempt, stage="rl", step=1, shards=[shard]
    )


NEWEST, ANCHOR = version(5), version(3, url="s3://runs/v3")

TABLE = [
    ("nothing is newer", None, None, 5, None, None),
    ("the newest first", NEWEST, ANCHOR, 2, None, NEWEST),
    ("the anchor after the newest failed", NEWEST, ANCHOR, 2, NEWEST, ANCHOR),
    ("the newest again after the anchor failed", NEWEST, ANCHOR, 2, ANCHOR, NEWEST),
    ("never back", NEWEST, ANCHOR, 3, NEWEST, NEWEST),
    ("the newest again where there is no anchor", NEWEST, None, 2, NEWEST, NEWEST),
    ("a new trainer's is another one", version(5, 2), ANCHOR, 2, NEWEST, version(5, 2)),
    ("so is the next", version(6), ANCHOR, 2, NEWEST, version(6)),
    ("and the same with a copy", version(5, 1, "s3://x"), None, 2, NEWEST, version(5, 1, "s3://x")),
]


@pytest.mark.parametrize(
    ("_", "newest", "anchor", "served", "failed", "wanted"), TABLE, ids=[row[0] for row in TABLE]
)
def test_choice(
    _: str,
    newest: WeightVersion | None,
    anchor: WeightVersion | None,
    served: int,
    failed: WeightVersion | None,
    wanted: WeightVersion | None,
) -> None:
    reply = WeightQueryReply(newest=newest, required=0, anchor=anchor)
    assert choose(reply, served, failed) == wanted


FAILED = FailedSource(transport=PEER, name="early", cause=FetchCause.TIMED_OUT, reason="hangs")

PREFETCHES = [
    ("a peer hangs", {"failed_sources": [FAILED], "unreachable": "Peer early: hangs"}),
    ("the bytes were overwritten", {"failed_sources": [FAILED]}),
    ("the model can't be updated by slices", {}),
]


@pytest.mark.parametrize(("error", "more"), PREFETCHES, ids=[row[0] for row in PREFETCHES])
async def test_a_failed_prefetch_says_which_source_failed(
    monkeypatch: pytest.MonkeyPatch, error: str, more: dict[str, Any]
) -> None:
    """Only a network that can't be read makes the engine unreachable, and the trainer store all."""
    monkeypatch.setattr(weight_updater, "RETRY_SECONDS", 0.0)
    failed = PrefetchStatus(
        state=PrefetchState.FAILED, version=5, attempt=1, error=f"{error}.", **more
    )
    reported: asyncio.Queue[NotFetched] = asyncio.Queue()

    async def prefetch(_: web.Request) -> web.Response:
        return web.json_response({"results": [failed.model_dump_json()]})

    async def newer(_: web.Request) -> web.Response:
        reply = WeightQueryReply(newest=NEWEST, required=0)
        return web.json_response(text=reply.model_dump_json())

    async def unfetched(request: web.Request) -> web.Response:
        reported.put_nowait(NotFetched.model_validate_json(await request.read()))
        return web.json_response({})

    app = web.Application()
    app.add_routes(
        [
            web.post("/collective_rpc", prefetch),
            web.get("/v1/weights/policy", newer),
            web.post("/v1/weights/policy/unfetched", unfetched),
        ]
    )
    async with (
        test_utils.TestServer(app) as server,
        session() as http,
        AsyncCoordinatorClient(str(server.make_url("")), "token") as client,
    ):
        state = EngineState()
        state.serves(4)
        engine = EngineClient(http, str(server.make_url("")))
        running = asyncio.ensure_future(
            WeightUpdater(client, engine, state, "policy", "job-rollout-0").run()
        )
        message = await asyncio.wait_for(reported.get(), HANG_S)
        assert (message.pod, message.version, message.attempt) == ("job-rollout-0", 5, 1)
        assert message.failed_sources == failed.failed_sources
        assert state.unreachable == failed.unreachable
        running.cancel()
        await asyncio.wait([running])


@dataclass
class SlowEngine:
    """Fails one call with an error, and is back at once."""

    state: EngineState
    fails: str
    error: Exception

    async def prefetch(self, _: WeightVersion) -> list[PrefetchStatus]:
        self._call("prefetch")
        return [PrefetchStatus(state=PrefetchState.READY, version=5, attempt=1)]

    async def pause(self, *, keep_cache: bool) -> None:
        assert not keep_cache
        self._call("pause")

    async def resume(self) -> None:
        pass

    async def served_copy(self) -> list[WorkerCopy]:
        return []

    def _call(self, name: str) -> None:
        if name == self.fails:
            if isinstance(self.error, EngineError):
                self._watch()
            raise self.error

    def _watch(self) -> None:
        """As `engine_state.watch`: an engine that was found down is up."""
        if self.state.version is None:
            self.state.serves(4)
        else:
            asyncio.get_running_loop().call_soon(self._watch)


class Journal:
    """The coordinator: offers version 5, and notes what comes in which order; reports are slow."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.enough = asyncio.Event()

    async def newer_weights(self, *_: Any) -> WeightQueryReply:
        self.came.append("question")
        if self.came.count("question") == 3:
            self.enough.set()
            await asyncio.Event().wait()
        return WeightQueryReply(newest=NEWEST, required=0)

    async def unfetched(self, _: str, message: NotFetched) -> None:
        for _turn in range(20):
            await asyncio.sleep(0)
        self.came.append(f"v{message.version} failed by {[s.name for s in message.failed_sources]}")


@pytest.mark.parametrize(
    ("_", "fails", "error", "said"),
    [
        ("busy", "prefetch", EngineTimeoutError("busy"), ["v5 failed by []"]),
        ("busy with what it has fetched", "pause", EngineTimeoutError("busy"), ["v5 failed by []"]),
        ("gone, perhaps by what it read", "prefetch", EngineError("gone"), []),
        ("hung in its read", "prefetch", PrefetchError("hung", hung=True), []),
        ("without a layout", "prefetch", PrefetchError("no coordinator"), ["v5 failed by []"]),
    ],
)
async def test_the_coordinator_knows_how_a_read_ended_before_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, _: str, fails: str, error: Exception, said: list[str]
) -> None:
    """A question without it means that the source failed (`test_relay.py`)."""
    monkeypatch.setattr(weight_updater, "RETRY_SECONDS", 0.0)
    state, client = EngineState(), Journal()
    state.serves(4)
    fakes: tuple[Any, Any] = client, SlowEngine(state, fails, error)
    running = asyncio.ensure_future(WeightUpdater(*fakes, state, "policy", "pod").run())
    await asyncio.wait_for(client.enough.wait(), HANG_S)
    assert client.came == ["question", *said, "question", *said, "question"]
    running.cancel()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait_for(asyncio.wait(left), HANG_S)


async def test_an_engine_that_is_slow_and_one_that_is_gone_are_different_errors() -> None:
    hold = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await hold.wait()
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/resume", slow)])
    async with session() as http:
        async with test_utils.TestServer(app) as server:
            engine = EngineClient(http, str(server.make_url("")))
            with pytest.raises(EngineTimeoutError):
                await engine._call("POST", "/resume", timeout_s=0.05)
            hold.set()
        with pytest.raises(EngineError) as gone:
            await engine.resume()
        assert not isinstance(gone.value, EngineTimeoutError)


class DamagedEngine:
    """Holds other weights than it was given after each update, until it is terminated."""

    def __init__(self) -> None:
        self.terminated = False

    async def prefetch(self, _: WeightVersion) -> list[PrefetchStatus]:
        return [PrefetchStatus(state=PrefetchState.READY, version=5, attempt=1, check=True)]

    async def pause(self, *, keep_cache: bool) -> None:
        assert not keep_cache

    async def load(self, version: int, attempt: int, *, check: bool) -> list[str]:
        assert (version, attempt, check) == (5, 1, True)
        return [f"{number}.weight" for number in range(20)]

    async def terminate(self) -> None:
        self.terminated = True


class Listener:
    """The coordinator: offers version 5, and waits for what is reported."""

    def __init__(self) -> None:
        self.reported: asyncio.Queue[tuple[str, WrongWeights]] = asyncio.Queue()

    async def newer_weights(self, *_: Any) -> WeightQueryReply:
        return WeightQueryReply(newest=NEWEST, required=0)

    async def wrong_weights(self, stream: str, message: WrongWeights) -> None:
        self.reported.put_nowait((stream, message))


async def test_wrong_weights_are_reported_and_the_engine_serves_nothing_until_it_is_back() -> None:
    """The report is what becomes the job's Event (`tests/operator/test_events.py`)."""
    state, engine, client = EngineState(), DamagedEngine(), Listener()
    state.serves(4)
    fakes: tuple[Any, Any] = client, engine
    running = asyncio.ensure_future(WeightUpdater(*fakes, state, "policy", "job-rollout-0").run())
    stream, message = await asyncio.wait_for(client.reported.get(), HANG_S)
    assert (stream, message.pod, message.version) == ("policy", "job-rollout-0", 5)
    assert message.tensors == [f"{number}.weight" for number in range(8)]
    assert engine.terminated
    assert (state.version, state.ready) == (None, False)
    running.cancel()
    await asyncio.wait([running])


class ServingEngine:
    """Other engines can read version 4 from it."""

    async def served_copy(self) -> list[WorkerCopy]:
        return [WorkerCopy(version=4, attempt=1, nixl_agent="a", nixl_metadata="m", parts=[])]


class SlowCoordinator:
    """Answers when it is told to; counts the questions."""

    def __init__(self) -> None:
        self.announced: list[int] = []
        self.asked: list[int] = []
        self.cancelled = 0
        self.answer: asyncio.Queue[WeightQueryReply] = asyncio.Queue()
        self.waits = asyncio.Event()

    async def announce(self, _: str, copy: EngineCopy) -> None:
        self.announced.append(copy.version)

    async def newer_weights(self, _: str, after: int, *__: Any) -> WeightQueryReply:
        self.asked.append(after)
        self.waits.set()
        try:
            return await self.answer.get()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.parametrize(
    ("back", "asked", "announced"),
    [(4, [4], [4]), (0, [4, 0], [])],
    ids=["the same engine", "one that restarted"],
)
async def test_an_engine_that_was_slow_for_a_moment_stays_a_reader_and_a_source(
    back: int, asked: list[int], announced: list[int]
) -> None:
    """The answer on its way may name a source, and to ask again says that it could not be read;
    what the engine holds was forgotten when it was reported as down."""
    state, client = EngineState(), SlowCoordinator()
    state.require(0)
    state.serves(4)
    fakes: tuple[Any, Any] = client, ServingEngine()
    updater = WeightUpdater(*fakes, state, "policy", "pod")
    running = asyncio.ensure_future(updater.run())
    await asyncio.wait_for(client.waits.wait(), HANG_S)
    client.waits.clear()
    state.lost()
    await asyncio.sleep(0)
    state.serves(back)
    if back != 4:
        await asyncio.wait_for(client.waits.wait(), HANG_S)
    client.answer.put_nowait(WeightQueryReply(newest=None, required=3))
    while state.required != 3:
        await asyncio.wait_for(state.change(), HANG_S)
    assert client.asked[: len(asked)] == asked
    assert client.announced == announced
    running.cancel()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.wait_for(asyncio.wait(left), HANG_S)
    # None is left behind: neither the one that was of no use, nor the one that was open.
    assert client.cancelled == len(client.asked) - 1
