"""A failing endpoint costs the item, which is counted, or ends the run with a sentence."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sea_cli import main, progress
from sea_data.synthesis import dataset
from sea_data.synthesis.agents import function_worker, planner, task_worker
from sea_data.synthesis.agents.model_client import ModelClient, TokenMeter
from sea_data.synthesis.backend import BackendUnavailableError
from sea_data.synthesis.engine import Engine
from sea_data.synthesis.journal import Journal
from sea_data.synthesis.plan import Blame, Cost, Failure, Item, ItemResult, Plan, Style, ToolMode
from sea_data.synthesis.run_state import RunSettings
from sea_env.chat import Address, ChatEndpoint
from sea_testing.played import draft
from sea_testing.team import Team, served, served_aside
from sea_testing.waiting import HANG_S

TWO = [
    draft("cancel an order", "terse", "fine"),
    draft("poison", "polite", "the endpoint can't stand it"),
]


async def hangs() -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def refuses() -> web.Response:
    return web.Response(status=400, text="this model takes no tools")


async def overflows() -> web.Response:
    return web.Response(status=400, text="maximum context length exceeded")


async def breaks() -> web.Response:
    return web.Response(status=500, text="CUDA out of memory")


async def babbles() -> web.Response:
    return web.Response(text="<html>a proxy's page</html>")


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / ".journal").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.component
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (hangs, "did not answer within"),
        (refuses, "refuses the request: it answered 400: this model"),
        (overflows, "The prompt doesn't fit the context of the model"),
        (breaks, "it answered 500: CUDA"),
        (babbles, "no chat completion"),
    ],
)
async def test_an_item_without_an_answer_is_counted_and_the_run_goes_on(
    retail: Team, tmp_path: Path, fault: Callable[[], Awaitable[web.Response]], said: str
) -> None:
    """Whatever concerns one plan gets no answer: it costs that plan's items, and nothing else."""

    async def poison(body: dict[str, Any]) -> web.Response | None:
        asked = body["messages"][1]["content"]
        return await fault() if asked.startswith("Plan: goals poison") else None

    retail.model.plans = TWO
    retail.model.fault = poison
    timeout_s = 3.0 if fault is hangs else HANG_S
    state = await retail.make(
        tmp_path, count=12, rounds=2, plans=2, timeout_s=timeout_s, attempts=2, max_failures=2
    )
    assert state.accepted == 12
    good, poisoned = state.tallies.values()
    # It rests after `max_failures` of them, and reflection leaves a plan alone that isn't at fault.
    assert 1 <= poisoned.blamed["infrastructure"] == poisoned.items <= 2 + 4
    assert poisoned.yield_ == 0.0
    assert any(said in reason for reason in poisoned.reasons)
    assert good.accepted == 12
    assert dataset.report(state)["plans"][1]["withoutAnswer"] == poisoned.items


@pytest.mark.component
async def test_an_endpoint_that_goes_down_in_the_middle_ends_the_run_and_costs_no_item(
    retail: Team, tmp_path: Path
) -> None:
    """The sentence says what to do; resumed, the run makes what it would have made."""

    async def later(body: dict[str, Any]) -> web.Response | None:
        return await breaks() if retail.model.asked[function_worker.VERIFIER] > 7 else None

    retail.model.fault = later
    with pytest.raises(BackendUnavailableError, match=r"answered 500: CUDA.*--resume"):
        await retail.make(tmp_path)
    before = events(tmp_path)
    assert sum(event["event"] == "item" for event in before) > 0
    assert not any(event.get("blame") == "infrastructure" for event in before)
    retail.model.fault = None
    state = await retail.make(tmp_path)
    assert state.accepted == 12
    items = [event["item"] for event in events(tmp_path) if event["event"] == "item"]
    assert len(items) == len(set(items))
    assert events(tmp_path)[: len(before)] == before


@pytest.mark.component
@pytest.mark.parametrize("fault", [hangs, breaks, babbles, refuses])
async def test_an_endpoint_that_never_answers_ends_the_run_with_a_sentence(
    retail: Team, tmp_path: Path, fault: Callable[[], Awaitable[web.Response]]
) -> None:
    async def always(_: dict[str, Any]) -> web.Response | None:
        return await fault()

    retail.model.fault = always
    timeout_s = 0.05 if fault is hangs else HANG_S
    with pytest.raises(
        BackendUnavailableError, match=r"endpoint http.*What was made so far is kept"
    ):
        await retail.make(tmp_path, timeout_s=timeout_s, attempts=2)


@pytest.mark.component
async def test_workers_that_talk_nonsense_for_ever_end_the_run(
    retail: Team, tmp_path: Path
) -> None:
    """All plans rest in turn, over all rounds; the report says why there is nothing."""

    async def poem(body: dict[str, Any]) -> web.Response | None:
        if not body["messages"][0]["content"].startswith(task_worker.WORKER):
            return None
        message = {"role": "assistant", "content": "Roses are red."}
        return web.json_response({"choices": [{"message": message}]})

    retail.model.fault = poem
    state = await retail.make(tmp_path, count=6, rounds=2, plans=3)
    assert state.accepted == 0
    assert 2 * 3 < sum(state.items.values()) <= 2 * (4 * 6 + 8)
    assert {blame for tally in state.tallies.values() for blame in tally.blamed} == {"task"}
    reasons = {reason for tally in state.tallies.values() for reason in tally.reasons}
    assert reasons == {
        "The model gave no usable answer in 3 tries: the answer holds no JSON object."
    }


@pytest.mark.component
async def test_half_a_character_costs_the_dialogue(retail: Team, tmp_path: Path) -> None:
    """JSON's escapes can spell what UTF-8 can't: such a dialogue could not be written."""
    agents = retail.source.system_prompt

    async def half(body: dict[str, Any]) -> web.Response | None:
        system, *rest = (message["content"] for message in body["messages"])
        if system != agents or "[task 0]" not in rest[0]:
            return None
        message = {"role": "assistant", "content": "\ud83d Hello."}
        return web.json_response({"choices": [{"message": message}]})

    retail.model.plans = TWO[:1]
    retail.model.fault = half
    state = await retail.make(tmp_path, count=3, rounds=1, plans=1, concurrency=1)
    assert state.accepted == 3
    (tally,) = state.tallies.values()
    assert tally.blamed["trajectory"] == 1


@pytest.mark.component
async def test_a_planner_that_repeats_itself_is_asked_a_few_times_only(
    retail: Team, tmp_path: Path
) -> None:
    retail.model.plans = [draft("cancel an order", "terse", "fine")] * 5
    state = await retail.make(tmp_path, count=2, rounds=1, plans=40)
    assert len(state.plans[1]) == 1
    # One that adds a plan, three that add none; a poem in between is asked for again.
    assert 4 <= retail.model.asked[planner.PLANNER] <= 6


@pytest.mark.component
def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nobody: int
) -> None:
    url = f"http://127.0.0.1:{nobody}/v1"
    given = ["--endpoint", url, "--model", "none", "--count", "2", "--size", "small"]
    code = main(["synth", "--domain", "shop", *given, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 1
    assert f"sea: The endpoint {url}/chat/completions (model none) gives no usable" in said
    assert "start the server, then run again with --resume." in said
    assert "Traceback" not in said


async def test_only_what_was_sent_after_a_failure_is_a_sign_of_life() -> None:
    """Requests are numbered as they are sent; an old one's late reply doesn't count as new."""
    arrived, held = asyncio.Event(), asyncio.Event()

    async def first_is_late(request: web.Request) -> web.Response:
        asked = (await request.json())["messages"][0]["content"]
        if asked == "late":
            arrived.set()
            await held.wait()
        if asked == "fails":
            return await breaks()
        return web.json_response({"choices": [{"message": {"content": "yes"}}]})

    async with served(first_is_late) as url, aiohttp.ClientSession() as session:
        address = Address(url, "m", attempts=2, first_pause_s=0.001)
        problems: list[str] = []
        endpoint = ModelClient(ChatEndpoint(session, address), problems.append)

        async def ask(text: str) -> str:
            return await endpoint.ask(
                [{"role": "user", "content": text}], TokenMeter(), temperature=0
            )

        late = asyncio.create_task(ask("late"))
        await arrived.wait()
        with pytest.raises(BackendUnavailableError):
            await ask("fails")
        failed_at = endpoint.sent
        assert problems == ["attempt 2: it answered 500: CUDA out of memory"]
        held.set()
        assert await late == "yes"
        assert (endpoint.answered, failed_at) == (1, 3)
        await ask("hello")
        assert endpoint.answered > failed_at


class Dying:
    """A backend of a model that answers an old request just after the first item has failed."""

    name = "dying"
    plan = Plan("p001", "retail", ("cancel an order",), ToolMode.GIVEN, Style.TERSE)

    def __init__(self, answered: int) -> None:
        self.sent, self.answered = 3, 0
        self._later = answered

    async def plans(self, count: int) -> list[Plan]:
        return [self.plan]

    async def make(self, item: Item) -> ItemResult:
        if item.index == 1:
            self.answered = self._later
            return Failure(Blame.TASK, "a reply that was under way")
        self.sent += 1
        return Failure(Blame.INFRASTRUCTURE, "no answer")

    async def reflect(self, plan: Plan, *_: Any) -> Plan:
        return plan

    def spent(self) -> Cost:
        return Cost()


@pytest.mark.parametrize(("answered", "charged"), [(3, 0), (4, 0), (5, 1)])
async def test_a_late_reply_of_a_dying_endpoint_charges_nobody(
    tmp_path: Path, answered: int, charged: int
) -> None:
    with closing(Journal(tmp_path)) as journal:
        settings = RunSettings("retail", 12)
        engine = Engine(settings, Dying(answered), journal, clock=lambda: 0.0)
        with pytest.raises(BackendUnavailableError, match="no answer"):
            await engine.run()
    blamed = [event.get("blame") for event in events(tmp_path) if event["event"] == "item"]
    assert blamed.count("task") == 1
    assert blamed.count("infrastructure") == charged


def test_the_bar_says_what_it_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs: the bar shows each attempt and how long it waits."""
    monkeypatch.setattr(progress, "_LOG_EVERY_S", 0.0)

    async def hang(_: web.Request) -> web.Response:
        return await hangs()

    with served_aside(hang) as url:
        given = ["--endpoint", url, "--model", "slow", "--timeout", "0.2", "--retries", "2"]
        sizes = ["--count", "2", "--size", "small", "--out", str(tmp_path / "out")]
        assert main(["synth", "--domain", "shop", *given, *sizes]) == 1
    said = capsys.readouterr().err
    assert "tasks: 0 of 2, planning; waits for slow, 0.2 s at most\n" in said
    assert "attempt 2: it did not answer within 0.2 s (Timeout)\n" in said
    assert "gives no usable answer in 2 attempts" in said
