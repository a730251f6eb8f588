"""The parts of a reward that replay and text decide, by their name in a task's `reward_basis`.

DB: the end state equals that of the expected actions on a fresh database. ENV_ASSERTION: named
checks on the end state. ACTION: every expected call was made. COMMUNICATE: the agent told the user
every piece of information. `verdict` multiplies them; all follow tau2-bench.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sea_env.domains.base import Domain, Environment, ToolError
from sea_env.domains.database import Database
from sea_env.domains.overlay import Change
from sea_env.tasks.task import Action, Assertion, Task
from sea_env.tokens.messages import Message, calls_of

EndState = tuple[list[Change], list[Change]]


def end_state(environment: Environment) -> EndState:
    """Changes to the agent's and to the user's database."""
    return environment.changes("assistant"), environment.changes("user")


def expected_end_state(domain: Domain, task: Task, database: Database) -> EndState:
    """What the task's expected actions change; actions that fail are part of it.

    Computed once per task and database: it is kept in the database's memo.
    """
    key = (domain.name, _actions_key(task))
    # By the actions, not by the task: tasks with equal actions share the replay.
    known: EndState | None = database.memo.get(key)
    if known is None:
        fresh = domain.open(database)
        for action in task.criteria.actions:
            # Errors are results here: an expected call that fails changes nothing, as in the
            # dialogue.
            fresh.call(action.name, action.arguments, side_of(domain, action))
        known = database.memo[key] = end_state(fresh)
    return known


def side_of(domain: Domain, action: Action) -> str:
    """Who makes an expected call: the side that owns the tool, where the row names the other.

    AReaL's rows name no requestor, which means the agent, for the user's tools too.
    """
    owners = {
        side: any(tool.name == action.name for tool in tools)
        for side, tools in (("assistant", domain.tools), ("user", domain.user_tools))
    }
    other = "user" if action.requestor == "assistant" else "assistant"
    return other if owners[other] and not owners[action.requestor] else action.requestor


def _actions_key(task: Task) -> str:
    actions: list[Any] = [[a.requestor, a.name, a.arguments] for a in task.criteria.actions]
    return json.dumps(actions, sort_keys=True)


def assertion_holds(environment: Environment, assertion: Assertion) -> bool:
    """True if the check's answer is the one that the task wants.

    An assertion about something that doesn't exist (the agent never created it) has failed,
    whichever answer is wanted. Raises UnknownAssertionError.
    """
    try:
        found = environment.check(assertion.func_name, assertion.arguments)
    except ToolError:
        return False
    return found == assertion.assert_value


def made_all(expected: Sequence[Action], transcript: Sequence[Message]) -> bool:
    """True if every expected call was made; order and further calls don't matter."""
    made = [call for message in transcript for call in calls_of(message)]
    return all(any(_fits(action, call) for call in made) for action in expected)


def _fits(action: Action, call: Mapping[str, Any]) -> bool:
    """True if name and arguments match, whoever made the call; without `compare_args`, only the
    arguments of the call are compared (tau2-bench's `Action.compare_with_tool_call`)."""
    if action.name != call.get("name"):
        return False
    given = call.get("arguments")
    if not isinstance(given, Mapping):  # an episode that another program saved
        given = {}
    compared = set(given if action.compare_args is None else action.compare_args)
    return _only(given, compared) == _only(action.arguments, compared)


def _only(arguments: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name in names}


def communicated(info: Sequence[str], transcript: Sequence[Message]) -> bool:
    """True if every piece is a case-insensitive substring of one text of the agent; commas are
    stripped (1,234 is 1234)."""
    texts = [
        _normalized(str(message["content"]))
        for message in transcript
        if message["role"] == "assistant" and message.get("content")
    ]
    return all(any(_normalized(piece) in text for text in texts) for piece in info)


def _normalized(text: str) -> str:
    return text.lower().replace(",", "")


def _database(domain: Domain, task: Task, environment: Environment, _: Sequence[Message]) -> bool:
    # Neither actions nor assertions: nothing is said about the end state (tau2-bench).
    if not task.criteria.judges_state:
        return True
    return end_state(environment) == expected_end_state(domain, task, environment.database)


def _assertions(_: Domain, task: Task, environment: Environment, __: Sequence[Message]) -> bool:
    return all(assertion_holds(environment, one) for one in task.criteria.env_assertions)


def _actions(_: Domain, task: Task, __: Environment, transcript: Sequence[Message]) -> bool:
    return made_all(task.criteria.actions, transcript)


def _communicate(_: Domain, task: Task, __: Environment, transcript: Sequence[Message]) -> bool:
    return communicated(task.criteria.communicate_info, transcript)


def _vacuous(_: Domain, __: Task, ___: Environment, ____: Sequence[Message]) -> bool:
    return True


CHECKS: dict[str, Callable[[Domain, Task, Environment, Sequence[Message]], bool]] = {
    "DB": _database,
    "ENV_ASSERTION": _assertions,
    "ACTION": _actions,
    "COMMUNICATE": _communicate,
    "NL_ASSERTION": _vacuous,
}
"""NL_ASSERTION without assertions is met; with some it is a judge's (`verdict`)."""
