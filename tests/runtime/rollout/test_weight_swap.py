"""A weight update that is cut short by the end of its worker, ends with wrong weights, or never."""

import asyncio
import json

import pytest
from aiohttp import test_utils, web

from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient, session
from sea_runtime.rollout.weight_swap import PrefetchError, WrongWeightsError
from sea_runtime.wire.weights import PrefetchState, PrefetchStatus, WeightVersion
from sea_testing.served import served
from sea_testing.waiting import HANG_S

VERSION = WeightVersion(stream="policy", version=1, attempt=1, stage="rl", step=1, shards=[])
READY = PrefetchStatus(state=PrefetchState.READY, version=1, attempt=1).model_dump_json()
RPC = "/collective_rpc"


async def test_a_worker_can_be_stopped_while_weights_are_replaced() -> None:
    """The engine is half-loaded, so it is terminated; the cancellation reaches the worker."""
    started, asked = asyncio.Event(), []

    async def answer(request: web.Request) -> web.Response:
        asked.append((await request.json())["method"] if request.path == RPC else request.path)
        if asked[-1] == "sea_load":
            started.set()
            await asyncio.Event().wait()
        return web.json_response({"results": [READY]})

    app = web.Application()
    app.add_routes([web.post("/{_}", answer)])
    async with served(app, handler_cancellation=True) as url, session() as http:
        engine = EngineClient(http, url)
        adopt = asyncio.ensure_future(weight_swap.adopt(engine, VERSION))
        await asyncio.wait_for(started.wait(), HANG_S)
        adopt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(adopt, HANG_S)
        assert asked == [
            "sea_prefetch",
            "/pause",
            "sea_load",
            "sea_terminate",  # and no /resume
        ]


@pytest.mark.parametrize(("check", "wrong"), [(False, []), (True, []), (True, ["a.weight"])])
async def test_only_an_engine_whose_weights_are_right_is_resumed(
    check: bool, wrong: list[str]
) -> None:
    """Asked in the pause, after the update; one that is wrong is terminated instead."""
    asked = []
    ready = PrefetchStatus(state=PrefetchState.READY, version=1, attempt=1, check=check)
    answers = {"sea_prefetch": ready.model_dump_json(), "sea_load": json.dumps(wrong)}

    async def answer(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        method = body["method"] if request.path == RPC else request.path
        if method == "sea_load":
            assert body["args"] == ["1", "1", "check" if check else ""]
        asked.append(method)
        return web.json_response({"results": [answers.get(method)]})

    app = web.Application()
    app.add_routes([web.post("/{_}", answer)])
    async with test_utils.TestServer(app) as server, session() as http:
        adopt = weight_swap.adopt(EngineClient(http, str(server.make_url(""))), VERSION)
        if wrong:
            with pytest.raises(WrongWeightsError, match=r"a\.weight"):
                await adopt
        else:
            await adopt
    last = ["sea_terminate"] if wrong else ["/update_weight_version", "/resume"]
    assert asked == ["sea_prefetch", "/pause", "sea_load", *last]


async def test_a_fetch_that_takes_too_long_is_given_up_and_the_engine_never_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As from a store that answers byte by byte; the engine goes on with what it has."""
    monkeypatch.setattr(weight_swap, "PREFETCH_TIMEOUT_SECONDS", 0.1)
    running = PrefetchStatus(state=PrefetchState.RUNNING, version=1, attempt=1).model_dump_json()
    asked = set()

    async def answer(request: web.Request) -> web.Response:
        asked.add((await request.json())["method"] if request.path == RPC else request.path)
        return web.json_response({"results": [running]})

    app = web.Application()
    app.add_routes([web.post("/{_}", answer)])
    async with test_utils.TestServer(app) as server, session() as http:
        with pytest.raises(PrefetchError, match="was not fetched within"):
            await weight_swap.adopt(EngineClient(http, str(server.make_url(""))), VERSION)
    # Whether it comes to a second question depends on the machine.
    assert "sea_prefetch" in asked
    assert asked <= {"sea_prefetch", "sea_prefetch_status"}
