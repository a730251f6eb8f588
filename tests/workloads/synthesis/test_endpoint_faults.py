"""What a failing endpoint costs: the item, counted; or the run, with a sentence. Never for ever."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sea_testing.played import draft
from sea_testing.team import Team
from sea_workloads.cli import main
from sea_workloads.synthesis import report
from sea_workloads.synthesis.agents import function_worker, planner, task_worker
from sea_workloads.synthesis.crew import CrewUnavailableError

TWO = [
    draft("cancel an order", "terse", "fine"),
    draft("poison", "polite", "the endpoint can't stand it"),
]


async def hangs() -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def refuses() -> web.Response:
    return web.Response(status=400, text="maximum context length exceeded")


async def breaks() -> web.Response:
    return web.Response(status=500, text="CUDA out of memory")


async def babbles() -> web.Response:
    return web.Response(text="<html>a proxy's page</html>")


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / ".journal").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (hangs, "did not answer within"),
        (refuses, "refuses the request: it answered 400: maximum context"),
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
    state = await retail.make(tmp_path, count=12, rounds=2, plans=2, timeout_s=0.3, attempts=2)
    assert state.accepted == 12
    good, poisoned = state.tallies.values()
    # It rests after `patience` of them, and reflection leaves a plan alone that isn't at fault.
    assert 1 <= poisoned.blamed["infrastructure"] == poisoned.items <= 8 + 4
    assert poisoned.yield_ == 0.0
    assert any(said in reason for reason in poisoned.reasons)
    assert good.accepted == 12
    assert report.as_dict(state)["plans"][1]["withoutAnswer"] == poisoned.items


async def test_an_endpoint_that_goes_down_in_the_middle_ends_the_run_and_costs_no_item(
    retail: Team, tmp_path: Path
) -> None:
    """The sentence says what to do; resumed, the run makes what it would have made."""

    async def later(body: dict[str, Any]) -> web.Response | None:
        return await breaks() if retail.model.asked[function_worker.VERIFIER] > 7 else None

    retail.model.fault = later
    # Longer than a reply under way takes: one that arrives after a failure is a sign of life.
    patient = {"attempts": 2, "first_pause_s": 0.2}
    with pytest.raises(CrewUnavailableError, match=r"answered 500: CUDA.*--resume"):
        await retail.make(tmp_path, **patient)
    before = events(tmp_path)
    assert sum(event["event"] == "item" for event in before) > 0
    assert not any(event.get("blame") == "infrastructure" for event in before)
    retail.model.fault = None
    state = await retail.make(tmp_path)
    assert state.accepted == 12
    items = [event["item"] for event in events(tmp_path) if event["event"] == "item"]
    assert len(items) == len(set(items))
    assert events(tmp_path)[: len(before)] == before


@pytest.mark.parametrize("fault", [hangs, breaks, babbles, refuses])
async def test_an_endpoint_that_never_answers_ends_the_run_with_a_sentence(
    retail: Team, tmp_path: Path, fault: Callable[[], Awaitable[web.Response]]
) -> None:
    async def always(_: dict[str, Any]) -> web.Response | None:
        return await fault()

    retail.model.fault = always
    with pytest.raises(CrewUnavailableError, match=r"endpoint http.*What was made so far is kept"):
        await retail.make(tmp_path, timeout_s=0.05, attempts=2)


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


async def test_half_a_character_costs_the_dialogue(retail: Team, tmp_path: Path) -> None:
    """JSON's escapes can spell what UTF-8 can't: such a dialogue could not be written."""
    agents = retail.world.system_prompt

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


async def test_a_planner_that_repeats_itself_is_asked_a_few_times_only(
    retail: Team, tmp_path: Path
) -> None:
    retail.model.plans = [draft("cancel an order", "terse", "fine")] * 5
    state = await retail.make(tmp_path, count=2, rounds=1, plans=40)
    assert len(state.plans[1]) == 1
    # One that adds a plan, three that add none; a poem in between is asked for again.
    assert 4 <= retail.model.asked[planner.PLANNER] <= 6


def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    given = ["--endpoint", url, "--model", "none", "--count", "2", "--size", "small"]
    code = main(["synth", "--domain", "shop", *given, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 1
    assert f"sea: The endpoint {url}/chat/completions (model none) gives no usable" in said
    assert "start the server, then run again with --resume." in said
    assert "Traceback" not in said
