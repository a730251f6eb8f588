"""Endpoints at the wrong path are named before a pod with GPUs starts; unreachable ones aren't."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sea_api.v1alpha1.job import Spec
from sea_runtime.coordinator import endpoints
from sea_runtime.coordinator.errors import PreconditionError

Serve = Callable[[str, int], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(path, status)` -> address of a server that knows only this path."""
    servers: list[TestServer] = []

    async def start(path: str, status: int) -> str:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status)

        app = web.Application()
        app.router.add_post(path, answer)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


def spec(url: str) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": "builtin:tiny"},
            "storage": {"url": "s3://bucket/run"},
            "data": {"rl": ["s3://b/rl.jsonl"]},
            "domains": ["shop"],
            "stages": [{"name": "rl", "type": "RL", "rl": {}}],
            "userModel": {"engine": "External", "url": url},
        }
    )


@pytest.mark.parametrize("status", [200, 400, 401, 403, 422, 429, 500, 503])
async def test_whatever_the_path_itself_answers_is_fine(serve: Serve, status: int) -> None:
    address = await serve("/v1/chat/completions", status)
    await endpoints.check(spec(f"{address}/v1"))
    await endpoints.check(spec(f"{address}/v1/"))


async def test_an_address_without_v1_gets_the_hint(serve: Serve) -> None:
    address = await serve("/v1/chat/completions", 400)
    with pytest.raises(PreconditionError) as raised:
        await endpoints.check(spec(address))
    assert raised.value.problem.reason == "EndpointNotFound"
    assert str(raised.value) == (
        f"spec.userModel.url is {address}, but {address}/chat/completions answers 404, so there is"
        f" no OpenAI-compatible server below it: correct the address, for example to {address}/v1."
    )


async def test_an_address_that_works_without_v1_is_fine(serve: Serve) -> None:
    await endpoints.check(spec(await serve("/chat/completions", 401)))


async def test_an_endpoint_that_nobody_reaches_from_here_proves_nothing() -> None:
    await endpoints.check(spec("http://127.0.0.1:9/v1"))


def test_all_endpoints_of_a_job_are_looked_at() -> None:
    endpoint = {"url": "http://make/v1", "model": "m"}
    stages = [{"name": "make", "type": "Synthesis", "synthesis": {"endpoint": endpoint}}]
    judge = {"judge": {"url": "http://judge/v1", "model": "m"}}
    base = spec("http://user/v1").model_dump(by_alias=True, mode="json")
    found = list(
        endpoints.named(Spec.model_validate({**base, "stages": stages, "verifier": judge}))
    )
    assert found == [
        ("spec.userModel.url", "http://user/v1"),
        ("spec.verifier.judge.url", "http://judge/v1"),
        ("spec.stages[0].synthesis.endpoint.url", "http://make/v1"),
    ]
