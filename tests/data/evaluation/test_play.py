"""`sea play` with a typed dialogue."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_data.evaluation.playing.terminal import arguments
from sea_env.domains import registry
from sea_testing.waiting import HANG_S

Type = Callable[..., None]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Type:
    """Lines that the person types; then the input ends."""

    def give(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return give


def play(data: Path, *more: str, task: str = "1") -> int:
    return main(["play", "shop", task, "--data", str(data), *more])


def solution(data: Path, task: str = "shop_test_0") -> list[str]:
    """What solves a task of the shop, read off its row."""
    (row,) = [
        row
        for line in (data / "rl_test.jsonl").read_text().splitlines()
        if (row := json.loads(line))["id"] == task
    ]
    criteria = json.loads(row["evaluation_criteria"])
    calls = [f"/{a['name']} {json.dumps(a['arguments'])}" for a in criteria["actions"]]
    return [*calls, " ".join(criteria["communicate_info"])]


def test_the_agents_side_can_solve_a_task(
    shop_data: Path, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("/help", "/tools", "/policy", "/expected", *solution(shop_data))
    assert play(shop_data, task="shop_test_0") == 0
    out = capsys.readouterr().out
    assert "/get_order(order: string)" in out
    assert "reward 1" in out
    assert "User: " in out


def test_mistakes_are_answered_and_the_verdict_says_what_is_missing(
    shop_data: Path, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("/find_user email", "/find_user {", "/nothing", "/transfer", "Goodbye.")
    assert play(shop_data) == 1
    out = capsys.readouterr().out
    assert "'email' is no name=value. It takes find_user(email: string)." in out
    assert "That is no JSON object" in out
    assert "DB            not met" in out
    assert "unexpected {'path': '/desk/state/transferred', 'value': True}" in out


def test_the_users_side_with_the_scripted_agent(
    shop_data: Path, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("/scenario", "Hello?", "/stop")
    assert play(shop_data, "--as", "user") == 1
    out = capsys.readouterr().out
    assert "reason for call: " in out
    assert "Agent: Which order?" in out
    assert "ended by UserStop; reward 0" in out


def test_the_users_side_with_a_model(
    shop_data: Path, typed: Type, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("Please help.", "/transfer")
    model = ["--endpoint", server.url, "--model", "m"]
    assert play(shop_data, "--as", "user", *model) == 1
    assert "Agent: Which order?" in capsys.readouterr().out
    assert server.requests[0]["messages"][-1] == {"role": "user", "content": "Please help."}


@pytest.mark.parametrize("lines", [[], ["/quit"], ["", "  ", "/quit"]])
def test_leaving(
    lines: list[str], shop_data: Path, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(*lines)
    assert play(shop_data) == 1
    assert "there is no verdict" in capsys.readouterr().out


@pytest.mark.component
def test_ctrl_c_leaves_at_the_prompt(shop_data: Path) -> None:
    # Who runs the tests in the background of a shell hands down an ignored SIGINT.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from sea_cli import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-u", "-c", code, "play", "shop", "1", "--data", str(shop_data)]
    pipe = subprocess.PIPE
    playing = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert playing.stdout is not None
    said = b""
    while b"agent> " not in said:
        said += os.read(playing.stdout.fileno(), 4096) or pytest.fail(said.decode())
    playing.send_signal(signal.SIGINT)
    _, error = playing.communicate(timeout=HANG_S)
    assert (playing.returncode, error) == (130, b"\nsea: interrupted.\n")


@pytest.mark.component
def test_a_functions_share_and_reason_are_shown(
    shop_data: Path, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.loads((shop_data / "rl_test.jsonl").read_text().splitlines()[0])
    row["evaluation_criteria"] = {"reward_basis": ["FUNCTION"]}
    row["verification_function"] = "def verify(episode): return 0.25, 'a quarter'"
    (shop_data / "quarter.jsonl").write_text(json.dumps(row) + "\n")
    typed(*["Goodbye."] * 9)
    assert play(shop_data, "--tasks", str(shop_data / "quarter.jsonl")) == 1
    assert "FUNCTION      0.25: a quarter" in capsys.readouterr().out


def test_unknown_tasks_and_endpoints(
    shop_data: Path, typed: Type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(shop_data, task="²") == 1
    assert play(shop_data, task="99") == 1
    assert "a number from 1 to 6" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        play(shop_data, "--user-endpoint", "http://localhost:1")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("order=A1 amount=12", {"order": "A1", "amount": 12}),
        ('order="A 1"', {"order": "A 1"}),
        ("order=7", {"order": "7"}),
        ("amount=x", {"amount": "x"}),
        ('{"order": "A1"}', {"order": "A1"}),
        ("", {}),
    ],
)
def test_arguments_are_typed_by_the_schema(text: str, found: dict[str, Any]) -> None:
    (refund,) = [tool for tool in registry.get("shop").tools if tool.name == "refund"]
    assert arguments(refund, text) == found
