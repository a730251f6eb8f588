"""The line to the coordinator, over real HTTP on loopback."""

from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sea_api import lenient
from sea_api.v1alpha1.policy import Role
from sea_operator import coordinator_link
from sea_operator.coordinator_link import CoordinatorLink, by_pod_ip
from sea_operator.coordinator_spec import coordinator_spec
from sea_operator.errors import CoordinatorRefusedError
from sea_testing.served import served


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer comes too late on a busy machine."""
    monkeypatch.setattr(coordinator_link, "TIMEOUT_SECONDS", 120.0)


@pytest.fixture
async def serve() -> Any:
    """`await serve(handler)` -> base URL of a server that answers everything with it."""
    async with AsyncExitStack() as servers:

        async def start(handler: Any) -> str:
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", handler)
            return await servers.enter_async_context(served(app))

        yield start


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(session: Any, url: Any, job: Any) -> Any:
    return await CoordinatorLink(session, lambda job, pods: url).state(job, (), "secret")


async def test_a_state_is_read_with_the_token(serve: Any, session: Any, make: Any) -> None:
    async def handler(request: web.Request) -> Any:
        assert request.headers["Authorization"] == "Bearer secret"
        return web.Response(text=make.state(attempt=3).model_dump_json(by_alias=True))

    answer = await ask(session, await serve(handler), make.job())
    assert (answer.state.attempt, answer.unreachable) == (3, None)


async def test_fields_of_another_release_are_ignored_with_a_warning(
    serve: Any, session: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A running job keeps its coordinator's image while the operator is upgraded."""

    async def handler(request: web.Request) -> Any:
        return web.json_response({"attempt": 3, "novel": 1, "weights": None, "stages": []})

    lenient._warn.cache_clear()
    answer = await ask(session, await serve(handler), make.job())
    assert (answer.state.attempt, answer.unreachable) == (3, None)
    assert "CoordinatorState has a field of another release, which is ignored: novel" in caplog.text


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (401, "", "doesn't answer: 401"),
        (500, "", "doesn't answer: 500"),
        (200, "nonsense", "can't be read"),
        (200, '{"uid": "somebody-else"}', "serves another job"),
    ],
)
async def test_what_goes_wrong_is_a_fact(
    serve: Any, session: Any, make: Any, status: int, text: str, says: str
) -> None:
    async def handler(request: web.Request) -> Any:
        return web.Response(status=status, text=text)

    answer = await ask(session, await serve(handler), make.job())
    assert answer.state is None
    assert says in answer.unreachable


async def test_nobody_there(session: Any, make: Any) -> None:
    assert "doesn't answer" in (await ask(session, "http://127.0.0.1:9", make.job())).unreachable
    assert "no address" in (await ask(session, None, make.job())).unreachable


async def test_silence_ends_by_time_out(
    serve: Any, session: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator_link, "TIMEOUT_SECONDS", 0.05)

    async def handler(request: web.Request) -> None:
        import asyncio

        await asyncio.Event().wait()

    assert "TimeoutError" in (await ask(session, await serve(handler), make.job())).unreachable


async def test_a_spec_is_put_and_a_refusal_raised(serve: Any, session: Any, make: Any) -> None:
    received: list[Any] = []

    async def handler(request: web.Request) -> Any:
        received.append((request.method, request.path, await request.json()))
        return web.Response(status=204 if len(received) == 1 else 409)

    url = await serve(handler)
    link, job = CoordinatorLink(session, lambda job, pods: url), make.job()
    spec = coordinator_spec(job, job.spec, stage_index=1, attempt=2, drain=False)
    await link.send(job, (), "secret", spec)
    assert received[0][:2] == ("PUT", "/v1/spec")
    assert received[0][2]["stageIndex"] == 1
    with pytest.raises(CoordinatorRefusedError, match=r"n/j at .* They are sent again"):
        await link.send(job, (), "secret", spec)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.0.0.1", "http://10.0.0.1:8080"), ("fd00::1", "http://[fd00::1]:8080"), (None, None)],
)
def test_the_address_is_the_pods_own(make: Any, address: str | None, expected: str | None) -> None:
    pods = (
        make.pod("j-trainer-0", Role.TRAINER, ip="10.9.9.9"),
        make.pod("j-coordinator-0", Role.COORDINATOR, ip=address),
    )
    assert by_pod_ip(make.job(), pods) == expected
    assert by_pod_ip(make.job(), ()) is None


async def test_a_silent_coordinator_is_asked_ever_more_rarely_until_it_moves_or_gets_ready(
    session: Any, make: Any
) -> None:
    asked: list[str] = []
    now, address = 1000.0, "http://127.0.0.1:9"
    link = CoordinatorLink(session, lambda job, pods: address, lambda: now)
    real = link._ask

    async def ask_and_count(job: Any, url: str, token: str) -> Any:
        asked.append(url)
        return await real(job, url, token)

    link._ask = ask_and_count  # type: ignore[method-assign]
    waits = []
    for _ in range(6):
        answer = await link.state(make.job(), (), "secret")
        waits.append(answer.ask_again_after)
        assert "doesn't answer" in (answer.unreachable or "")
        again = await link.state(make.job(), (), "secret")
        assert again.unreachable == answer.unreachable
        now += answer.ask_again_after or 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert len(asked) == 6
    await link.state(make.job(), (), "secret")
    pods = (make.pod("j-coordinator-0", Role.COORDINATOR, ready=True),)
    await link.state(make.job(), pods, "secret")
    assert len(asked) == 8, "its pod became ready"
    address = "http://127.0.0.1:10"
    await link.state(make.job(), pods, "secret")
    assert asked[-1] == address


async def test_a_token_that_no_header_can_carry_is_a_fact_too(session: Any, make: Any) -> None:
    link = CoordinatorLink(session, lambda job, pods: "http://127.0.0.1:9")
    answer = await link.state(make.job(), (), "s3cret\n")
    assert "doesn't answer" in (answer.unreachable or "")
    assert "s3cret" not in (answer.unreachable or "")


@pytest.mark.parametrize("place", ["env", "patch", "init"])
def test_no_secret_of_a_pods_variables_leaves_the_operator(make: Any, place: str) -> None:
    """The coordinator's ledger is copied to the object store with every checkpoint."""
    variables = [{"name": "HF_TOKEN", "value": "very-secret"}, {"name": "A", "value": "shown"}]
    container = {"name": "x" if place == "init" else "trainer", "env": variables}
    where = "initContainers" if place == "init" else "containers"
    patch = {"patch": {"spec": {where: [container]}}}
    template = {"env": variables} if place == "env" else patch
    job = make.job(spec=make.spec(trainer={"template": template}))
    sent = coordinator_spec(job, job.spec, stage_index=0, attempt=1, drain=False)
    text = sent.model_dump_json(by_alias=True)
    assert "very-secret" not in text
    assert ("shown" in text, "HF_TOKEN" in text) == (True, True)
    assert "very-secret" in job.spec.model_dump_json(by_alias=True), "pods still get it"
