"""Test cases for a verification function: end states of one task with their known verdicts.

The verdicts come from execution: a case is good if the task's own reward basis gives 1, and bad if
it gives 0. End states that the basis can't tell from a good one are no cases.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sea_data.synthesis.execution_checks import EndState, episode_of, fresh, solved
from sea_data.synthesis.item import TaskFaultError
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.domains.base import Environment
from sea_env.domains.overlay import Change
from sea_env.episodes.limits import Stop
from sea_env.tasks.task import Action, Task
from sea_env.tokens.messages import ToolCall
from sea_env.users.base import Signal
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
