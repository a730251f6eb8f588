"""Rewards with a judge and with rows' own functions."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sea_data.errors import RowError
from sea_data.formats import rl
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.episodes.limits import Stop
from sea_env.tasks.task import Task
from sea_env.verify.judge import Judge
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.sandbox.process import SandboxError
from sea_env.verify.verdict import UnverifiableTaskError, Verdict, Verifier, verify
from sea_testing.chat_server import ChatServer

SHOP = registry.get("shop")
ORDER = {"order": "A7", "email": "Kim5@shop", "status": "pending", "total": 35, "refunded": 0}
CALLS = [
    {"name": "find_user", "arguments": {"email": "Kim5@shop"}},
    {"name": "cancel_order", "arguments": {"order": "A7"}},
]
BYE = [{"role": "assistant", "content": "Done. Goodbye."}]
DATABASE = Database(
    {
        "users": {"Kim5@shop": {"name": "Kim"}},
        "orders": {"A7": ORDER},
        "desk": {"state": {"transferred": False}},
    }
)
CANCELLED = """
def verify(episode):
    order = episode["agent_database"]["orders"]["A7"]
    as_expected = episode["agent_changes"] == episode["expected_agent_changes"]
    if order["status"] != "cancelled" or not as_expected:
        return 0, "the order is " + order["status"]
    return 0.5, episode["task"]["id"] + " " + episode["stop"] + str(len(episode["messages"]))
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[FunctionSandbox]:
    box = FunctionSandbox(processes=1)
    yield box
    await box.close()


def task(function: str = "", **criteria: Any) -> Task:
    given: dict[str, Any] = {"verification_function": function} if function else {}
    given["evaluation_criteria"] = {"actions": [], **criteria}
    return rl.task({"id": "shop_1", **given})


def world(*calls: dict[str, Any]) -> Any:
    opened = SHOP.open(DATABASE)
    for call in calls:
        opened.call(call["name"], call["arguments"])
    return opened


@pytest.mark.component
async def test_a_function_is_one_more_factor(sandbox: FunctionSandbox) -> None:
    wanted = task(CANCELLED, actions=CALLS)
    verdict = await Verifier(sandbox).verify(SHOP, wanted, world(*CALLS), BYE)
    assert verdict == Verdict(
        0.5, {"DB": 1.0, "COMMUNICATE": 1.0, "FUNCTION": 0.5}, {"FUNCTION": "shop_1 UserStop1"}
    )


@pytest.mark.component
async def test_a_function_alone(sandbox: FunctionSandbox) -> None:
    wanted = task(CANCELLED, reward_basis=["FUNCTION"])
    verdict = await Verifier(sandbox).verify(SHOP, wanted, world(), BYE)
    assert verdict == Verdict(0.0, {"FUNCTION": 0.0}, {"FUNCTION": "the order is pending"})


@pytest.mark.component
async def test_a_hostile_function_is_a_zero_with_its_reason(sandbox: FunctionSandbox) -> None:
    wanted = task("def verify(episode): return open('/etc/passwd').read()")
    verdict = await Verifier(sandbox).verify(SHOP, wanted, world(), BYE)
    assert verdict.reward == 0.0
    assert "PermissionError" in verdict.reasons["FUNCTION"]


class Untouched(FunctionSandbox):
    async def run(self, *_: Any) -> Any:
        raise SandboxError("It was asked for.")


@pytest.mark.parametrize(("made", "stop"), [((), Stop.USER_STOP), (tuple(CALLS), Stop.MAX_TURNS)])
async def test_what_can_make_no_difference_is_not_run(made: tuple[Any, ...], stop: Stop) -> None:
    wanted = task(CANCELLED, actions=CALLS)
    verdict = await Verifier(Untouched()).verify(SHOP, wanted, world(*made), BYE, stop)
    assert verdict.reward == 0.0
    assert "FUNCTION" not in verdict.parts


async def test_a_broken_sandbox_is_no_verdict() -> None:
    with pytest.raises(SandboxError):
        await Verifier(Untouched()).verify(SHOP, task(CANCELLED), world(), BYE)


def test_a_function_is_never_run_without_a_sandbox() -> None:
    with pytest.raises(UnverifiableTaskError, match="sandbox only"):
        verify(SHOP, task(CANCELLED), world(), BYE)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"verification_function": 3}, "must be a string"),
        ({"verification_function": "def verify(:"}, "isn't valid Python"),
        ({"verification_function": "\0"}, "isn't valid Python"),
        ({"verification_function": "x" * 70_000}, "longer than"),
        ({"evaluation_criteria": {"reward_basis": ["FUNCTION"]}}, "is missing"),
    ],
)
def test_bad_functions_are_bad_rows(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason) as caught:
        rl.task({"id": "shop_1", **row})
    assert caught.value.field == "verification_function"


def said(*met: bool) -> str:
    return json.dumps(
        {"verdicts": [{"number": n, "reason": f"r{n}", "met": m} for n, m in enumerate(met, 1)]}
    )


@pytest.mark.parametrize(("met", "reward"), [((True, True), 1.0), ((True, False), 0.0)])
async def test_all_assertions_must_be_met(
    sandbox: FunctionSandbox, chat_server: ChatServer, met: tuple[bool, ...], reward: float
) -> None:
    chat_server.answers.append(chat_server.message(said(*met)))
    wanted = task(nl_assertions=["a", "b"], reward_basis=["DB", "NL_ASSERTION"])
    async with aiohttp.ClientSession() as session:
        judge = Judge(ChatEndpoint(session, Address(url=chat_server.url, model="m")))
        verdict = await Verifier(sandbox, judge).verify(SHOP, wanted, world(), BYE)
        nothing_left = await Verifier(sandbox, judge).verify(SHOP, wanted, world(*CALLS), BYE)
    assert verdict.reward == verdict.parts["NL_ASSERTION"] == reward
    assert verdict.reasons == {"NL_ASSERTION": "r1\nr2"}
    assert nothing_left.parts == {"DB": 0.0}
    assert len(chat_server.asked) == 1, "a judge is paid for, so only asked where it matters"


async def test_without_a_judge_the_task_is_refused(sandbox: FunctionSandbox) -> None:
    wanted = task(nl_assertions=["a"], reward_basis=["NL_ASSERTION"])
    with pytest.raises(UnverifiableTaskError, match=r"spec\.verifier\.judge"):
        await Verifier(sandbox).verify(SHOP, wanted, world(), BYE)
    unnamed = task(nl_assertions=["a"], reward_basis=["DB"])
    assert (await Verifier(sandbox).verify(SHOP, unnamed, world(), BYE)).reward == 1.0
