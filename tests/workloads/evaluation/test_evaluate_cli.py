"""`sea evaluate` against a real HTTP server: what it plays, what it counts, how it goes on."""

import asyncio
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sea_testing.waiting import HANG_S
from sea_workloads.cli import main

Evaluate = Callable[..., int]


@pytest.fixture
def arguments(server: Any, shop_data: Path, tmp_path: Path) -> list[str]:
    """Six tasks, two trials, nothing patient."""
    return [
        "evaluate", "--endpoint", server.url, "--model", "teacher", "--domain", "shop",
        "--data", str(shop_data), "--out", str(tmp_path / "out"), "--trials", "2",
        "--timeout", str(HANG_S), "--retries", "2", "--attempts", "1",
    ]  # fmt: skip


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    from sea_workloads.chat.endpoint import Address

    original = Address.__init__
    monkeypatch.setattr(
        Address,
        "__init__",
        lambda self, **given: original(self, **{"first_pause_s": 1e-3, **given}),
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def scores(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return found


def test_the_teacher_solves_everything(
    server: Any, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    found = scores(tmp_path / "out")
    assert found["results"][0]["passHat1"] == found["results"][0]["passHat2"] == 100.0
    assert found["results"][0]["passHat4"] is None
    assert found["settings"]["seed"] == 0
    played = lines(tmp_path / "out")
    assert len({(line["row"], line["trial"]) for line in played}) == 12
    assert len({line["seed"] for line in played}) == 12
    assert all(line["generatedTokens"] > 0 and line["transcript"] for line in played)
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")
    assert "shop" in capsys.readouterr().out
    body = server.requests[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("teacher", 1.0, 8192)
    assert {tool["function"]["name"] for tool in body["tools"]} >= {"find_user", "refund"}
    assert body["seed"] in {line["seed"] for line in played}


def test_seeds_are_the_coordinators(arguments: list[str], tmp_path: Path) -> None:
    """The same file and seed give a job and the command line the same trials."""
    from sea_workloads.coordinator.data.order import sampling_seed

    assert main(arguments) == 0
    for line in lines(tmp_path / "out"):
        assert line["seed"] == sampling_seed(0, line["row"], line["trial"])


async def silence(_: web.Request, __: Any) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def broken(_: web.Request, __: Any) -> web.Response:
    return web.Response(status=500, text="boom")


async def nonsense(_: web.Request, __: Any) -> web.Response:
    return web.json_response({"object": "cat"})


async def no_json(_: web.Request, __: Any) -> web.Response:
    return web.Response(text="<html>")


async def wrong_calls(_: web.Request, __: Any) -> web.Response:
    choice = {"message": {"role": "assistant", "content": None, "tool_calls": "find_user"}}
    return web.json_response({"choices": [choice]})


async def endless(request: web.Request, _: Any) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (silence, "did not answer within 0.4 s"),
        (broken, "answered 500: boom"),
        (nonsense, "no chat completion"),
        (no_json, "no chat completion"),
        (wrong_calls, "tool_calls that are no list"),
        (endless, "longer than"),
    ],
)
def test_a_useless_endpoint_ends_the_evaluation_and_scores_nothing(
    server: Any,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_pauses: None,
    fault: Any,
    sentence: str,
) -> None:
    """Hangs, errors and nonsense: no episode is a zero, and not all of them are tried."""
    server.fault = fault
    patience = ["--timeout", "0.4"] if fault is silence else []
    assert main([*arguments, *patience, "--concurrency", "3"]) == 1
    error = capsys.readouterr().err
    assert "3 episodes in a row ended without a verdict" in error
    assert sentence in error
    assert ".." not in error
    assert "--resume" in error
    found = scores(tmp_path / "out")
    assert found["results"] == []
    assert 3 <= found["withoutVerdict"] < 6, "those at play end with the third"
    assert found["failures"] == {"shop": {"infrastructure": 3}}
    assert all(line["reward"] is None for line in lines(tmp_path / "out"))


async def refusing(_: web.Request, __: Any) -> web.Response:
    return web.Response(status=401, text="who are you")


def test_a_refusal_is_not_repeated(
    server: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.fault = refusing
    assert main([*arguments, "--concurrency", "1", "--attempts", "3"]) == 1
    assert "refuses the request: it answered 401: who are you" in capsys.readouterr().err
    assert len(server.requests) == 3


def test_what_passes_is_tried_again(
    server: Any, arguments: list[str], tmp_path: Path, no_pauses: None
) -> None:
    """Every second request fails; every episode has a verdict all the same."""

    async def flaky(_: web.Request, __: Any) -> web.Response | None:
        return web.Response(status=503) if len(server.requests) % 2 else None

    server.fault = flaky
    assert main([*arguments, "--concurrency", "1", "--retries", "4"]) == 0
    assert scores(tmp_path / "out")["results"][0]["passHat1"] == 100.0


def test_a_full_context_is_the_agents_failure(
    server: Any, arguments: list[str], tmp_path: Path
) -> None:
    async def full(_: web.Request, __: Any) -> web.Response:
        message = "This model's maximum context length is 4096 tokens"
        return web.json_response({"error": {"message": message}}, status=400)

    server.fault = full
    assert main(arguments) == 0
    found = scores(tmp_path / "out")
    assert found["results"][0]["passHat1"] == 0.0
    assert found["failures"] == {"shop": {"context-full": 12}}


def test_episodes_without_verdict_are_played_again_on_resume(
    server: Any,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_pauses: None,
) -> None:
    """Exit code 3 says that something is missing; --resume plays that and nothing else."""
    (first,) = {line["id"] for line in rows(arguments) if line["id"].endswith("_0")}
    wanted = scenario(arguments, first)

    async def one_is_broken(_: web.Request, messages: Any) -> web.Response | None:
        said = " ".join(str(m["content"]) for m in messages if m["role"] == "user")
        return web.Response(status=500) if wanted in said else None

    server.fault = one_is_broken
    assert main(arguments) == 3
    assert "have no verdict yet" in capsys.readouterr().err
    missing = [line for line in lines(tmp_path / "out") if line["reward"] is None]
    assert 2 <= len(missing) < 12
    server.fault = None
    asked = len(server.requests)
    assert main(arguments) == 1, "without --resume nothing is overwritten"
    assert "add --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert 0 < len(server.requests) - asked <= 6 * len(missing)
    assert len(lines(tmp_path / "out")) == 12
    assert main([*arguments, "--resume", "--trials", "3"]) == 0
    assert scores(tmp_path / "out")["results"][0]["passHat3"] == 100.0
    assert main([*arguments, "--resume", "--seed", "1"]) == 1
    assert "holds an evaluation with seed 0, not 1" in capsys.readouterr().err


def rows(arguments: list[str]) -> list[dict[str, Any]]:
    file = Path(arguments[arguments.index("--data") + 1]) / "rl_test.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def scenario(arguments: list[str], identity: str) -> str:
    (row,) = [row for row in rows(arguments) if row["id"] == identity]
    order: str = row["user_scenario"]["script"]["order"]
    return order


@pytest.mark.component
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_evaluation_goes_on(
    server: Any, arguments: list[str], tmp_path: Path, end: signal.Signals
) -> None:
    """Ctrl-C and a polite end say how to go on; a kill in the middle of a line loses that line."""
    hanging: list[Any] = []

    async def late_ones_hang(_: web.Request, __: Any) -> web.Response | None:
        if len(server.requests) > 20:
            hanging.append(1)
            await asyncio.Event().wait()
        return None

    server.fault = late_ones_hang
    # Who runs the tests in the background of a shell hands down an ignored SIGINT.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from sea_workloads.cli import main; raise SystemExit(main())"
    )
    slow = [*arguments, "--concurrency", "2"]
    running = subprocess.Popen(
        [sys.executable, "-c", code, *slow], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert server.wait_for(21)
    running.send_signal(end)
    _, error = running.communicate(timeout=HANG_S)
    out = tmp_path / "out"
    before = len(lines(out))
    assert 0 < before < 12
    if end == signal.SIGKILL:
        with (out / "episodes.jsonl").open("a") as file:
            file.write('{"task": "shop_test_0", "row')
    else:
        assert running.returncode == 130
        assert f"{12 - before} of 12 episodes have no verdict yet. Go on with: sea " in error
        assert error.rstrip().endswith("--resume")
        assert scores(out)["planned"] == 12
    server.fault = None
    asked = len(server.requests)
    assert main([*slow, "--resume"]) == 0
    assert len(lines(out)) == 12
    # The ended process may have sent a request of each episode that the server hadn't counted yet.
    assert len(server.requests) - asked <= 6 * (12 - before) + 2


def test_a_resumed_evaluation_may_only_grow(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--max-tasks", "2"]) == 0
    again = [*arguments, "--resume"]
    for fewer in (["--max-tasks", "1"], ["--max-tasks", "2", "--trials", "1"]):
        assert main([*again, *fewer]) == 1
        assert "may only grow: 1 would leave out what was played" in capsys.readouterr().err
    assert main([*again, "--max-tasks", "3", "--trials", "3"]) == 0
    assert len(lines(tmp_path / "out")) == 9
    assert main([*again, "--trials", "3"]) == 0
    assert len(lines(tmp_path / "out")) == 18
    assert main([*again, "--max-tasks", "3", "--trials", "3"]) == 1
    assert "with maxTasks all" in capsys.readouterr().err


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_tasks(
    arguments: list[str],
    tmp_path: Path,
    shop_data: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
    pack: Callable[[bytes], bytes],
) -> None:
    packed = pack((shop_data / "rl_test.jsonl").read_bytes())
    file = tmp_path / f"tasks.jsonl{suffix}"
    file.write_bytes(packed)
    given = [*arguments, "--tasks", str(file), "--max-tasks", "1", "--trials", "1"]
    assert main(given) == 0
    file.write_bytes(packed[:-9])
    assert main(given) == 1
    assert "damaged or end too early" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--domain", "mars"], "There is no domain 'mars'"),
        (
            ["--data", "nowhere"],
            "The folder nowhere has neither tasks.json nor any of rl_test.jsonl",
        ),
        (["--tasks", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["--domain", "retail"], "has no task of the domain retail"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    server: Any,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    sentence: str,
) -> None:
    assert main([*arguments, *change]) == 1
    assert sentence in capsys.readouterr().err
    assert not server.requests


@pytest.mark.parametrize(
    "change",
    [
        ["--trials", "0"],
        ["--endpoint", "localhost:1"],
        ["--user-endpoint", "http://localhost:1"],
        ["--user", "scripted", "--user-endpoint", "http://localhost:1", "--user-model", "m"],
        ["--timeout", "-1"],
        ["--temperature", "nan"],
        ["--temperature", "-1"],
    ],
)
def test_wrong_usage(arguments: list[str], change: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *change])
    assert caught.value.code == 2


def test_a_user_behind_an_endpoint_and_text_calls(
    server: Any, arguments: list[str], tmp_path: Path
) -> None:
    """The user's requests carry no tools; the agent's calls come as tags in its text."""

    async def both(_: web.Request, messages: Any) -> web.Response:
        body = server.requests[-1]
        assert "tools" not in body
        if body["model"] == "person":
            text = "Hello?" if len(messages) == 2 else "###STOP###"
        elif messages[-1]["content"].startswith("<tool_response>"):
            text = "Goodbye."
        else:
            text = '<tool_call>{"name":"find_user","arguments":{"email":"x"}}</tool_call>'
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})

    server.fault = both
    more = ["--user-endpoint", server.url, "--user-model", "person", "--tool-calls", "text"]
    assert main([*arguments, *more, "--max-tasks", "2", "--concurrency", "1"]) == 0
    played = lines(tmp_path / "out")
    assert len(played) == 4
    said = [message["content"] for message in played[0]["transcript"]]
    assert said == ["Hello?", "", "Error: no such customer", "Goodbye.", "###STOP###"]
