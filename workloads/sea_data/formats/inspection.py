"""Checks one row of a data file before a job gets it (`sea data check`), and replays its actions.

A row that can't be used raises RowError. What is only worth knowing becomes a note: published rows
have expected actions that raise, so such rows are kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sea_data.errors import RowError
from sea_data.formats import database_files, foreign_rows, rl
from sea_data.formats.dialogue import Dialogue, dialogue, succeeded, tools_of
from sea_data.formats.model_demands import Demand, demands, unmet
from sea_data.formats.perspective import agent_side, exchange
from sea_env.domains import registry
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_env.domains.initial_state import InitialStateError
from sea_env.episodes.conversation import open_environment
from sea_env.errors import EnvError
from sea_env.tasks.task import Task
from sea_env.tokens import arguments as call_arguments
from sea_env.tokens.messages import calls_of
from sea_env.tokens.renderer import Renderer
from sea_env.verify.checks import assertion_holds, side_of
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable


def replay(domain: Domain, task: Task, database: Database) -> dict[str, Any]:
    """What the expected actions do to a fresh environment, in tau2-bench's layout.

    Each call's result and error flag, both databases' changes since the task's initial state, and
    each assertion's outcome. Raises InitialStateError.
    """
    environment = open_environment(domain, database, task)
    calls = []
    for action in task.criteria.actions:
        requestor = side_of(domain, action)
        result = environment.call(action.name, action.arguments, requestor)
        calls.append(
            {
                "requestor": requestor,
                "name": action.name,
                "arguments": dict(action.arguments),
                "content": result.content,
                "error": result.error,
            }
        )
    return {
        "task_id": task.id,
        "gold_calls": calls,
        "agent_db_changes": environment.changes("assistant"),
        "user_db_changes": environment.changes("user"),
        "env_assertions": [
            assertion_holds(environment, assertion) for assertion in task.criteria.env_assertions
        ],
    }


_MAX_SHOWN = 200
"""Characters of a tool's answer in a note."""
_MAX_DATABASES = 16
_LACKING = {
    Demand.LATER_SYSTEM: "models whose chat template refuses it (Qwen3.5 and later)",
    Demand.JSON_CALLS: "models that write calls as XML (Qwen3-Coder, Qwen3.5 and later)",
}


class Inspector:
    """Checks rows; caches the databases used last."""

    def __init__(
        self,
        domain: str = "",
        databases: Path | None = None,
        *,
        judged: bool = False,
        model: Renderer | None = None,
    ) -> None:
        """`domain` is the default of task rows that name none. With `databases` (the data root)
        every row's database is read and its expected actions are run on it. `judged`: the rows
        will be scored with a judge model. `model`: the agent's, which a stage will train; what its
        format can't hold is an error then."""
        self._domain, self._root, self._judged = domain, databases, judged
        self._lacks = None if model is None else unmet(model)
        self._databases: dict[tuple[str, Path], Database] = {}

    def notes(self, row: Mapping[str, Any]) -> list[str]:
        """Notes on a usable row; raises RowError for an unusable one."""
        if "messages" in row or foreign_rows.layout(row):
            found = dialogue(row)
            return [*_unanswered(found), *_calls(found), *self._demands(row, found)]
        task = rl.task(row, self._domain)
        domain = _playable(task, judged=self._judged)
        if self._root is None or task.db_path is None:
            return _empty(task)
        database = self._database(domain, task.db_path, self._root)
        return [*_empty(task), *_raised(domain, task, database)]

    def _demands(self, row: Mapping[str, Any], given: Dialogue) -> Iterator[str]:
        if not succeeded(row):  # nothing trains on it
            return
        for demand, error in demands(agent_side(given)).items():
            if self._lacks is None:
                yield f"{error.field} can't train {_LACKING[demand]}: it {error.reason}"
            elif demand in self._lacks:
                raise error
        try:
            exchange(given)
        except RowError as error:
            yield f"{error.field} {error.reason}: a UserSFT stage refuses the row"

    def _database(self, domain: Domain, db_path: str, root: Path) -> Database:
        path = database_files.local_path(root, db_path)
        # Taken out and put back: the first entry is then the one used longest ago.
        known = self._databases.pop((domain.name, path), None)
        found = known if known is not None else _parsed(domain, path)
        self._databases[domain.name, path] = found
        while len(self._databases) > _MAX_DATABASES:
            del self._databases[next(iter(self._databases))]
        return found


def _calls(found: Dialogue) -> list[str]:
    """The agent's calls that the tools of its own prompt don't take.

    Worth knowing and kept: published dialogues have mistakes that the agent corrects.
    """
    tools = tools_of(found.messages)
    notes = []
    for index, message in enumerate(found.messages):
        for number, call in enumerate(calls_of(message) if message["role"] == "assistant" else ()):
            where = f"{found.place(index)}.tool_calls[{number}]: {call['name']}"
            if tools and call["name"] not in tools:
                notes.append(f"{where} is no tool of the row's own prompt")
            notes += [
                f"{where} {problem}"
                for problem in call_arguments.problems(call["arguments"], tools.get(call["name"]))
            ]
    return notes


def _unanswered(found: Dialogue) -> Iterator[str]:
    """Results without a call and calls without a result: templates write either without a word.

    Notes: an answer to a turn that couldn't be read has no call, and is trained on purpose.
    """
    waiting = 0
    for index, message in enumerate(found.messages):
        if message["role"] == "tool":
            waiting -= 1
            if waiting < 0:
                yield f"messages[{index}] is a tool's result that answers no call"
            continue
        if waiting > 0:
            yield f"messages[{index}] follows calls without a result: {waiting}"
        waiting = len(calls_of(message))


def _playable(task: Task, *, judged: bool) -> Domain:
    try:
        domain = registry.get(task.domain)
        check_verifiable(task, judged=judged)
    except registry.UnknownDomainError as error:
        raise RowError("user_scenario.instructions.domain", str(error)) from error
    except UnverifiableTaskError as error:
        raise RowError("evaluation_criteria", str(error)) from error
    return domain


def _parsed(domain: Domain, path: Path) -> Database:
    try:
        return database_files.read(domain, path)
    except DatabaseError as error:
        raise RowError("db_path", str(error)) from error


def _empty(task: Task) -> list[str]:
    if task.row.get("evaluation_criteria") or task.verification_function:
        return []
    return ["evaluation_criteria: is missing or empty: an episode without any change earns 1"]


def _raised(domain: Domain, task: Task, database: Database) -> list[str]:
    try:
        outcome = replay(domain, task, database)
    except InitialStateError as error:
        raise RowError("initial_state", f"can't be set up: {error.__cause__}") from error
    except EnvError as error:
        raise RowError("evaluation_criteria", str(error)) from error
    raised = [
        f"evaluation_criteria.actions[{index}]: {call['name']} raises, and is kept: "
        f"{call['content'][:_MAX_SHOWN]}"
        for index, call in enumerate(outcome["gold_calls"])
        if call["error"]
    ]
    return [*raised, *_unmet(task, outcome["env_assertions"])]


def _unmet(task: Task, outcomes: Sequence[bool]) -> list[str]:
    """Assertions that fail after the expected actions: nobody could earn anything there."""
    if "ENV_ASSERTION" not in task.criteria.reward_basis:
        return []
    return [
        f"evaluation_criteria.env_assertions[{index}]: {wanted.func_name}"
        f"({str(dict(wanted.arguments))[1:-1][:_MAX_SHOWN]}) doesn't answer "
        f"{str(wanted.assert_value).lower()} after the expected actions"
        for index, (wanted, holds) in enumerate(
            zip(task.criteria.env_assertions, outcomes, strict=True)
        )
        if not holds
    ]
