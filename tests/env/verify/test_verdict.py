"""The parts of a reward, and the tasks that can't be scored."""

from typing import Any

import pytest

from sea_data.formats import rl
from sea_env.domains import registry
from sea_env.domains.base import UnknownAssertionError
from sea_env.domains.database import Database
from sea_env.episodes.limits import Stop
from sea_env.tasks.task import Action, Task
from sea_env.verify.checks import communicated, expected_end_state, made_all, side_of
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable, verify

SHOP = registry.get("shop")
ORDER = {"order": "A7", "email": "Kim5@shop", "status": "pending", "total": 35, "refunded": 0}
FIND = {"name": "find_user", "arguments": {"email": "Kim5@shop"}}
CANCEL = {"name": "cancel_order", "arguments": {"order": "A7"}}
BYE = [{"role": "assistant", "content": "It is 1,035. Goodbye."}]


def database() -> Database:
    return Database(
        {
            "users": {"Kim5@shop": {"name": "Kim"}},
            "orders": {"A7": ORDER},
            "desk": {"state": {"transferred": False}},
        }
    )


def task(**criteria: Any) -> Task:
    return rl.task({"id": "shop_1", "evaluation_criteria": criteria})


@pytest.mark.parametrize(
    ("calls", "reward"), [([FIND, CANCEL], 1.0), ([FIND], 0.0), ([CANCEL], 0.0)]
)
def test_end_state_must_equal_that_of_the_expected_actions(
    calls: list[dict[str, Any]], reward: float
) -> None:
    world = SHOP.open(database())
    for call in calls:
        world.call(call["name"], call["arguments"])
    verdict = verify(SHOP, task(actions=[FIND, CANCEL]), world, BYE)
    assert verdict.reward == reward
    assert verdict.parts == {"DB": reward, "COMMUNICATE": 1.0}


@pytest.mark.parametrize("stop", list(Stop))
def test_only_a_dialogue_that_the_user_ended_can_earn(stop: Stop) -> None:
    verdict = verify(SHOP, task(), SHOP.open(database()), BYE, stop)
    assert verdict.reward == (stop in {Stop.USER_STOP, Stop.TRANSFER, Stop.OUT_OF_SCOPE})


@pytest.mark.parametrize(
    ("info", "found"),
    [([], True), (["goodbye"], True), (["1035"], True), (["1,035", "36"], False)],
)
def test_information_is_searched_in_the_agents_texts(info: list[str], found: bool) -> None:
    assert communicated(info, [{"role": "user", "content": "36"}, *BYE]) is found


@pytest.mark.parametrize(
    ("compare", "given", "fits"),
    [
        (None, {"a": 1, "b": 2}, True),
        (None, {"a": 1, "b": 3}, False),
        (None, {"a": 1, "b": 2, "c": 3}, False),
        (["a"], {"a": 1, "b": 9}, True),
        ([], {}, True),
    ],
)
def test_expected_calls_compare_the_arguments_that_count(
    compare: list[str] | None, given: dict[str, int], fits: bool
) -> None:
    wanted = Action("f", {"a": 1, "b": 2}, compare_args=compare)
    made = [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": given}]}]
    assert made_all([wanted], made) is fits
    assert made_all([Action("f", {"a": 1, "b": 2}, "user", compare_args=[])], made), "any side's"
    assert not made_all([Action("g", {})], made)


def test_the_expected_end_state_is_computed_once() -> None:
    shared = database()
    first = expected_end_state(SHOP, task(actions=[FIND, CANCEL]), shared)
    assert expected_end_state(SHOP, task(actions=[FIND, CANCEL]), shared) is first
    assert expected_end_state(SHOP, task(actions=[FIND]), shared) == ([], [])


def test_expected_actions_may_fail() -> None:
    criteria = task(actions=[{"name": "nope", "arguments": {}}, CANCEL])
    assert verify(SHOP, criteria, SHOP.open(database()), BYE).reward == 1.0


def test_a_task_for_a_judge_is_refused_not_scored() -> None:
    judged = task(nl_assertions=["was kind"], reward_basis=["DB", "NL_ASSERTION"])
    with pytest.raises(UnverifiableTaskError, match="judge model"):
        check_verifiable(judged)
    with pytest.raises(UnverifiableTaskError):
        verify(SHOP, judged, SHOP.open(database()), BYE)
    vacuous = task(nl_assertions=None, reward_basis=["DB", "NL_ASSERTION"])
    assert verify(SHOP, vacuous, SHOP.open(database()), BYE).parts["NL_ASSERTION"] == 1.0


def test_an_unknown_assertion_is_an_error_not_a_zero() -> None:
    wrong = task(env_assertions=[{"func_name": "is_up"}], reward_basis=["ENV_ASSERTION"])
    with pytest.raises(UnverifiableTaskError, match="'is_up'"):
        check_verifiable(wrong)
    with pytest.raises(UnknownAssertionError, match="'is_up'"):
        SHOP.open(database()).check("is_up", {})


def test_a_task_with_an_initial_state_is_refused() -> None:
    row = {"id": "retail_1", "initial_state": {"message_history": [{"role": "user"}]}}
    with pytest.raises(UnverifiableTaskError, match="message_history"):
        check_verifiable(rl.task(row))
    check_verifiable(rl.task(row | {"initial_state": {"message_history": None}}))


def test_a_call_without_a_requestor_is_the_one_of_the_side_that_owns_the_tool() -> None:
    """AReaL's rows name none: the user's calls were the agent's, which has no such tool."""
    telecom = registry.get("telecom")
    user_tool, agent_tool = telecom.user_tools[0].name, telecom.tools[0].name
    assert side_of(telecom, Action(user_tool, {})) == "user"
    assert side_of(telecom, Action(agent_tool, {})) == "assistant"
    assert side_of(telecom, Action(agent_tool, {}, "user")) == "assistant"
    assert side_of(telecom, Action("nobody's", {}, "user")) == "user"


@pytest.mark.parametrize(
    ("criteria", "reward"),
    [
        ({"communicate_info": []}, 1.0),
        ({"actions": None, "env_assertions": None}, 1.0),
        ({"actions": []}, 0.0),
        ({"env_assertions": []}, 0.0),
    ],
)
def test_without_actions_and_assertions_nothing_is_said_about_the_end_state(
    criteria: dict[str, Any], reward: float
) -> None:
    """As tau2-bench: null is not an empty list."""
    wanted = rl.task({"id": "shop_1", "evaluation_criteria": criteria})
    opened = SHOP.open(database())
    opened.call("find_user", {"email": "Kim5@shop"})
    opened.call("cancel_order", {"order": "A7"})
    assert verify(SHOP, wanted, opened, BYE).reward == reward
