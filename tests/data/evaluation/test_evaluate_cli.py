"""`sea evaluate` against a real HTTP server: what it plays, what it counts, how it goes on."""

import asyncio
import gzip
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

from sea_cli import main
from sea_testing.evaluated import lines, scores
from sea_testing.waiting import HANG_S


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
    from sea_env.tasks.order import sampling_seed

    assert main(arguments) == 0
    for line in lines(tmp_path / "out"):
        assert line["seed"] == sampling_seed(0, line["row"], line["trial"])


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
        "from sea_cli import main; raise SystemExit(main())"
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
        left = 12 - before
        said = f"{left} of 12 episodes have no verdict yet: {left} not played. Go on with: sea "
        assert said in error
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
    assert "damaged or ends too early" in capsys.readouterr().err


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
