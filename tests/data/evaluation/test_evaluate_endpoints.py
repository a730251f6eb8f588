"""`sea evaluate` against endpoints that fail, refuse, or talk nonsense: none of it is a zero."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sea_cli import main
from sea_testing.evaluated import lines, scores


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
    assert found["failures"] == {"shop": {"infrastructure": found["withoutVerdict"]}}
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


async def cannot_read(_: web.Request, messages: Any) -> web.Response:
    words = "error parsing tool call: raw='{', err=unexpected end of JSON input"
    return web.json_response({"error": {"message": words}}, status=500)


def test_a_call_that_the_server_cannot_read_is_the_agents_mistake(
    server: Any, arguments: list[str], tmp_path: Path
) -> None:
    """As one that our own reader refuses: answered with a sentence, then the episode is a zero."""
    server.fault = cannot_read
    assert main(arguments) == 0
    found = scores(tmp_path / "out")
    assert found["results"][0]["passHat1"] == 0.0
    assert found["failures"] == {"shop": {"malformed-call": 12}}
    assert "a tool call that the server can't read: error parsing tool call" in json.dumps(
        lines(tmp_path / "out")
    )


def test_a_turn_that_the_servers_parser_fails_on_is_no_zero(
    server: Any,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    no_pauses: None,
) -> None:
    """llama.cpp's parser fails on right turns too: no verdict, counted with its own sentence."""
    (first,) = {line["id"] for line in rows(arguments) if line["id"].endswith("_0")}
    wanted = scenario(arguments, first)

    async def cannot_parse(_: web.Request, messages: Any) -> web.Response | None:
        words = "The model produced output that does not match the expected peg-native format"
        failed = web.json_response({"error": {"code": 500, "message": words}}, status=500)
        return failed if wanted in str(messages[1]["content"]) else None

    server.fault = cannot_parse
    assert main([*arguments, "--retries", "1"]) == 3
    found = scores(tmp_path / "out")
    assert found["withoutVerdict"] >= 2
    assert found["failures"] == {"shop": {"infrastructure": found["withoutVerdict"]}}
    assert found["results"][0]["passHat1"] == 100.0
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{found['withoutVerdict']} because: The parser of the endpoint" in last
    assert "use another build of it or another server" in last


def test_a_full_context_is_the_agents_failure(
    server: Any, arguments: list[str], tmp_path: Path
) -> None:
    async def full(_: web.Request, messages: Any) -> web.Response | None:
        spoke = any(message["role"] == "assistant" for message in messages)
        return no_room() if spoke else None

    server.fault = full
    assert main(arguments) == 0
    found = scores(tmp_path / "out")
    assert found["results"][0]["passHat1"] == 0.0
    assert found["failures"] == {"shop": {"context-full": 12}}


def no_room() -> web.Response:
    message = "This model's maximum context length is 4096 tokens"
    return web.json_response({"error": {"message": message}}, status=400)


def test_an_agent_that_was_never_asked_has_no_verdict(
    server: Any, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A zero would be about nothing that it did; the last line says why, whatever their number."""
    (first,) = {line["id"] for line in rows(arguments) if line["id"].endswith("_0")}
    wanted = scenario(arguments, first)

    async def full_at_once(_: web.Request, messages: Any) -> web.Response | None:
        return no_room() if wanted in str(messages[1]["content"]) else None

    server.fault = full_at_once
    assert main(arguments) == 3
    found = scores(tmp_path / "out")
    assert found["neverAsked"] == found["withoutVerdict"] >= 2
    assert found["failures"] == {"shop": {"never-asked": found["neverAsked"]}}
    assert found["results"][0]["passHat1"] == 100.0
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{found['neverAsked']} because: The agent never had a turn: its first prompt" in last


async def hangs_up(request: web.Request) -> web.Response:
    message = {"role": "assistant", "content": "###STOP###"}
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})


def test_a_user_that_ends_first_gives_no_verdict(
    server: Any, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case 21: 9.5 % of retail passed although the agent got no request."""

    async def by_model(request: web.Request, _: Any) -> web.Response | None:
        return await hangs_up(request) if (await request.json())["model"] == "user" else None

    server.fault = by_model
    user = ["--user-endpoint", server.url, "--user-model", "user"]
    assert main([*arguments, *user, "--concurrency", "1"]) == 1
    assert {body["model"] for body in server.requests} == {"user"}
    found = scores(tmp_path / "out")
    assert (found["results"], found["neverAsked"]) == ([], 3)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "3 because: The agent never had a turn: the user ended the dialogue first" in last
    assert "9 not played." in last


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
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "have no verdict yet" in last
    assert "because: The endpoint" in last
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
