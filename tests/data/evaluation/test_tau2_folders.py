"""tau2-bench's own folders: a user with a phone, initial states, calls that can be made again."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sea_cli import main
from sea_testing.tau2 import DATA, needs_data

pytestmark = needs_data


def completion(content: str | None, *calls: str) -> web.Response:
    made = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in calls
    ]
    message = {"role": "assistant", "content": content, **({"tool_calls": made} if made else {})}
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})


def test_users_with_tools_of_their_own(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The agent sees nothing of the user's calls, the record has them, and they run again."""

    async def both(_: web.Request, messages: Any) -> web.Response:
        if server.requests[-1]["model"] == "agent":
            assert "check_status_bar" not in json.dumps(messages), "not the agent's business"
            return completion("What does your status bar show?")
        if messages[-1]["role"] == "tool":
            return completion("It shows " + messages[-1]["content"])
        ending = len(messages) > 5
        return completion("###STOP###") if ending else completion(None, "check_status_bar")

    server.fault = both
    out, data = tmp_path / "out", str(DATA / "telecom")
    agent = ["--endpoint", server.url, "--model", "agent"]
    user = ["--user-endpoint", server.url, "--user-model", "person"]
    given = ["--domain", "telecom", "--data", data, "--trials", "1", "--out", str(out)]
    assert main(["evaluate", *agent, *user, *given, "--max-tasks", "3"]) == 0
    tools = [r["tools"] for r in server.requests if r["model"] == "person"]
    assert any(t["function"]["name"] == "check_status_bar" for t in tools[0])
    played = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    assert [line["stop"] for line in played] == ["UserStop"] * 3
    assert all(line["transcript"][0].get("tool_calls") for line in played)
    capsys.readouterr()
    assert main(["replay", str(out / "episodes.jsonl"), "--all", "--data", data]) == 0
    assert "3 episodes, 3 calls, 0 answer differently" in capsys.readouterr().out


def test_tasks_that_take_a_judge_are_left_out_or_scored_without(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--domain", "retail", "--data", str(DATA / "retail"), "--trials", "1"]
    agent = ["--endpoint", server.url, "--model", "agent", "--max-turns", "1"]
    code = main(["evaluate", *agent, *given, "--max-tasks", "1", "--out", str(tmp_path / "a")])
    told = capsys.readouterr()
    assert code in {0, 1}
    assert "natural language" in told.out + told.err
    dropped = ["--drop-nl-assertions", "--max-tasks", "2", "--out", str(tmp_path / "b")]
    assert main(["evaluate", *agent, *given, *dropped]) == 0
    assert "tasks left out" not in capsys.readouterr().out
    system = server.requests[-1]["messages"][0]["content"]
    assert "<policy>" in system
    assert "get_order_details" not in system.partition("</policy>")[2], "tools are told once"
