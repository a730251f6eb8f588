"""The verification worker: writes a task's `verify(episode)` and tries it until it is right.

The model sees what the expected actions changed, and for each attempt what the sandbox found wrong.
A function that is still wrong after the last try is the task's fault; reflection reads which case
it failed. Functions that a model wrote run in the verifier's sandbox, never in this process.

It is tried on end states of the task whose verdicts are known from execution: a case is good if the
task's own reward basis gives 1, and bad if it gives 0. End states that the basis can't tell from a
good one are no cases.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenacity import AsyncRetrying, stop_after_attempt

from sea_data.errors import RowError
from sea_data.formats import rl
from sea_data.synthesis.agents.model_client import MAX_TRIES, Messages, ModelClient, TokenMeter
from sea_data.synthesis.backend import BackendUnavailableError
from sea_data.synthesis.execution_checks import EndState, episode_of, fresh, solved
from sea_data.synthesis.plan import TaskFaultError, shorten_reason
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.domains.base import Environment
from sea_env.domains.overlay import Change
from sea_env.episodes.limits import Stop
from sea_env.retry import IF_TRANSIENT
from sea_env.tasks.task import Action, Task
from sea_env.tokens.messages import ToolCall
from sea_env.users.base import Signal
from sea_env.verify.function import FIELD, judged_episode
from sea_env.verify.sandbox.pool import FunctionSandbox, Judged
from sea_env.verify.sandbox.process import SandboxError
from sea_env.verify.verdict import local_parts

_MAX_OMISSIONS = 4
"""Expected actions that are left out, one per case. Last ones first: they mostly write."""
_SORRY = "I am sorry, I can't help you with that."


@dataclass(frozen=True)
class FunctionCase:
    """One end state. The function must give 1 if it is good, else 0."""

    what: str
    """What happened, for the complaint to the model."""
    good: bool
    episode: dict[str, Any]
    environment: Environment
    """The episode's changes refer to its databases."""


def function_cases(source: SourceDatabase, task: Task) -> list[FunctionCase]:
    """The good end state first, then at least one bad one.

    Raises:
        TaskFaultError: the expected actions earn no reward, or doing nothing earns it too.
    """
    solved(source, task)  # raises if an expected action fails
    actions, said = task.criteria.actions, task.criteria.communicate_info
    good = _case(source, task, actions, said, "everything as expected")
    if not good.good:
        failed = ", ".join(task.criteria.reward_basis)
        raise TaskFaultError(f"The expected actions don't earn the task's own reward ({failed}).")
    bad = [case for case in _bad_cases(source, task, good) if not case.good]
    if not bad:
        raise TaskFaultError(
            "The task's reward is earned without doing anything: it needs expected actions, "
            "assertions that don't hold at the beginning, or something that must be said."
        )
    return [good, *bad]


def _bad_cases(source: SourceDatabase, task: Task, good: FunctionCase) -> Iterator[FunctionCase]:
    actions, said = task.criteria.actions, task.criteria.communicate_info
    yield _case(source, task, (), (), "the agent did and said nothing")
    for place in list(reversed(range(len(actions))))[:_MAX_OMISSIONS]:
        kept = [*actions[:place], *actions[place + 1 :]]
        what = f"all was done but the expected action {place + 1}, {actions[place].name}"
        yield _case(source, task, kept, said, what)
    if said:
        yield _case(source, task, actions, (), "all was done, but nothing was told to the customer")
    unrelated = _unrelated_change(good)
    if unrelated is not None and "DB" in task.criteria.reward_basis:
        changes = sorted([*good.episode["agent_changes"], unrelated], key=lambda one: one["path"])
        episode = {**good.episode, "agent_changes": changes}
        what = f"all was done, but {unrelated['path']} was changed too, which nobody asked for"
        yield replace(good, what=what, good=False, episode=episode)


def _case(
    source: SourceDatabase, task: Task, actions: Sequence[Action], said: Sequence[str], what: str
) -> FunctionCase:
    environment = fresh(source.domain, source.database, task)
    messages = _transcript(environment, task, actions, said)
    episode = episode_of(source, task, EndState(environment, Stop.USER_STOP), messages)
    parts = local_parts(source.domain, task, environment, messages)
    return FunctionCase(what, all(parts.values()), episode, environment)


def _transcript(
    environment: Environment, task: Task, actions: Sequence[Action], said: Sequence[str]
) -> list[dict[str, Any]]:
    """The shortest dialogue with these calls and statements."""
    instructions = task.scenario.get("instructions") or {}
    opening = instructions.get("reason_for_call") if isinstance(instructions, Mapping) else ""
    messages: list[dict[str, Any]] = [{"role": "user", "content": str(opening or "Hello.")}]
    for action in actions:
        call = ToolCall(action.name, action.arguments).as_dict()
        messages.append({"role": action.requestor, "content": "", "tool_calls": [call]})
        result = environment.call(action.name, action.arguments, action.requestor).content
        whose = {"requestor": "user"} if action.requestor == "user" else {}
        messages.append({"role": "tool", "content": result, **whose})
    words = " ".join([*said, "It is done."]) if actions or said else _SORRY
    messages.append({"role": "assistant", "content": words})
    return [*messages, {"role": "user", "content": str(Signal.STOP)}]


def _unrelated_change(good: FunctionCase) -> Change | None:
    """A change to one field of a record that the good end state doesn't touch."""
    touched = {str(change["path"]) for change in good.episode["agent_changes"]}
    for table, records in good.environment.base().items():
        if not isinstance(records, Mapping):
            continue
        for key, record in records.items():
            for field, value in record.items() if isinstance(record, Mapping) else ():
                path = f"/{_escaped(table)}/{_escaped(key)}/{_escaped(field)}"
                if isinstance(value, str) and not any(path.startswith(one) for one in touched):
                    return {"path": path, "value": f"{value} (spoiled)"}
    return None


def _escaped(name: object) -> str:
    """The name as a token of a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


_MAX_SANDBOX_TRIES = 3


class FunctionRunner:
    """Runs a model's verification functions for all items of a run."""

    def __init__(self, sandbox: FunctionSandbox) -> None:
        self._sandbox = sandbox

    async def run(self, source: str, episode: dict[str, Any], environment: Environment) -> Judged:
        """The function's verdict on a finished episode of the environment.

        Raises BackendUnavailableError if the sandbox fails, as opposed to the function.
        """
        # A SandboxError is transient: the next try gets another process.
        stop = stop_after_attempt(_MAX_SANDBOX_TRIES)
        retrying = AsyncRetrying(stop=stop, retry=IF_TRANSIENT, reraise=True)
        try:
            return await retrying(judged_episode, self._sandbox, source, episode, environment)
        except SandboxError as error:
            raise BackendUnavailableError(
                f"Verification functions can't be tried: {error}"
            ) from error


VERIFIER = "You are the verification worker of a data synthesis team."
_CONTRACT = """\
Write Python source that defines verify(episode). It returns (1, reason) where the agent settled the
task and (0, reason) where it didn't; the reason is a short sentence. `episode` is plain data:
- agent_database, user_database: tables at the end, as {table: {key: record}} or lists of records
- agent_changes, user_changes: what the episode changed: {"path": JSON pointer, "value": new} or
  {"path": ..., "removed": true}, sorted by path
- expected_agent_changes, expected_user_changes: the same for the task's expected actions
- messages: role (user, assistant, tool), content, tool_calls [{"name", "arguments"}]
- task: the task; stop: how the dialogue ended
Judge the end state and what the agent told the customer, not the way there: another agent may look
up other things and use other words. Unless assertions decide, nothing else may have changed. Import
nothing but the standard library's pure parts (json, re, datetime, decimal, math, ...); there are no
files, no network, no clock, and 2 s of processor time. Answer with one Python code block only."""
_MAX_SHOWN = 20_000
"""Characters of the changes, and of a reply, in a prompt."""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


class NoFunctionError(TaskFaultError):
    """No try gave a function that passes all cases."""


async def write(
    client: ModelClient,
    runner: FunctionRunner,
    task: Task,
    cases: Sequence[FunctionCase],
    seed: int,
    meter: TokenMeter,
) -> str:
    """Source of a function that passes all cases, of which the first is the good one.

    Raises:
        NoFunctionError: no try passed; names the case that the last one failed.
        BackendUnavailableError: no reply, or no sandbox.
    """
    messages = _opening(task, cases[0])
    problem = ""
    for attempt in range(MAX_TRIES):
        text = await client.ask(messages, meter, temperature=0.5, seed=seed + attempt)
        messages.append({"role": "assistant", "content": text[:_MAX_SHOWN]})
        try:
            source = read(text, task)
            problem = await _problem(runner, source, cases)
        except ValueError as error:
            problem = str(error)
        else:
            if not problem:
                return source
        messages.append({"role": "user", "content": f"{problem} Correct it: one code block."})
    raise NoFunctionError(
        f"No verification function held in {MAX_TRIES} tries: {shorten_reason(problem)}"
    )


def read(text: str, task: Task) -> str:
    """The source in a reply; raises ValueError if it holds none that a row can carry."""
    body = text.rpartition("</think>")[2]
    blocks = [block for block in _FENCED.findall(body) if "def verify" in block]
    source = blocks[-1] if blocks else body
    if "def verify" not in source:
        raise ValueError("The answer holds no code block that defines verify(episode).")
    try:
        rl.task({**task.row, FIELD: source}, task.domain)
    except RowError as error:
        raise ValueError(f"The function can't be used: {error}.") from error
    return source.strip() + "\n"


async def _problem(runner: FunctionRunner, source: str, cases: Sequence[FunctionCase]) -> str:
    """The first case that the function judges wrongly; empty if there is none."""
    # In order, the good case first: the model gets one problem at a time.
    for case in cases:
        judged = await runner.run(source, case.episode, case.environment)
        wanted = 1.0 if case.good else 0.0
        if judged.failed or judged.reward != wanted:
            return (
                f"Where {case.what}, the function must give {wanted:g}, but gives "
                f"{judged.reward:g}: {shorten_reason(judged.reason)}"
            )
    return ""


def _opening(task: Task, good: FunctionCase) -> Messages:
    shown = {
        "customer": task.scenario,
        "must be said by the agent": list(task.criteria.communicate_info),
        "expected_agent_changes": good.episode["expected_agent_changes"],
        "expected_user_changes": good.episode["expected_user_changes"],
        "assertions that decide": [
            {"function": one.func_name, "arguments": one.arguments, "expected": one.assert_value}
            for one in task.criteria.env_assertions
        ],
    }
    content = f"The task:\n{json.dumps(shown, default=str)[:_MAX_SHOWN]}"
    return [
        {"role": "system", "content": f"{VERIFIER} {_CONTRACT}"},
        {"role": "user", "content": content},
    ]
