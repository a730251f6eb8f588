"""Trials of a verification function: ends of one task of which it is known how they must be judged.

Execution knows: a trial is good where the task's own reward basis gives 1, and spoiled where it
gives 0. What the basis can't tell from a good end is no trial.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sea_data.synthesis.checking import Ended, TaskFaultError, episode_of, fresh, solved
from sea_data.synthesis.worlds import World
from sea_env.domains.base import Environment
from sea_env.domains.overlay import Change
from sea_env.episodes.limits import Stop
from sea_env.tasks.task import Action, Task
from sea_env.tokens.messages import ToolCall
from sea_env.users.base import Signal
from sea_env.verify.verdict import local_parts

_MOST_OMISSIONS = 4
"""Expected actions that are left out, one at a time; the last ones first, which mostly write."""
_SORRY = "I am sorry, I can't help you with that."


@dataclass(frozen=True)
class Trial:
    """One end of the task. The function must give 1 where it is good, else 0."""

    what: str
    good: bool
    episode: dict[str, Any]
    environment: Environment
    """Whose databases the episode's changes refer to."""


def trials(world: World, task: Task) -> list[Trial]:
    """The good end first, then spoiled ones: at least one.

    Raises:
        TaskFaultError: the task's expected actions earn nothing, or its reward can't tell them from
            anything else.
    """
    solved(world, task)  # no expected action errs
    actions, said = task.criteria.actions, task.criteria.communicate_info
    good = _trial(world, task, actions, said, "everything as expected")
    if not good.good:
        failed = ", ".join(task.criteria.reward_basis)
        raise TaskFaultError(f"The expected actions don't earn the task's own reward ({failed}).")
    spoiled = [trial for trial in _spoiled(world, task, good) if not trial.good]
    if not spoiled:
        raise TaskFaultError(
            "The task's reward is earned without doing anything: it needs expected actions, "
            "assertions that don't hold at the beginning, or something that must be said."
        )
    return [good, *spoiled]


def _spoiled(world: World, task: Task, good: Trial) -> Iterator[Trial]:
    actions, said = task.criteria.actions, task.criteria.communicate_info
    yield _trial(world, task, (), (), "the agent did and said nothing")
    for place in list(reversed(range(len(actions))))[:_MOST_OMISSIONS]:
        kept = [*actions[:place], *actions[place + 1 :]]
        what = f"all was done but the expected action {place + 1}, {actions[place].name}"
        yield _trial(world, task, kept, said, what)
    if said:
        yield _trial(world, task, actions, (), "all was done, but nothing was told to the customer")
    foreign = _foreign(good)
    if foreign is not None and "DB" in task.criteria.reward_basis:
        changes = sorted([*good.episode["agent_changes"], foreign], key=lambda one: one["path"])
        episode = {**good.episode, "agent_changes": changes}
        what = f"all was done, but {foreign['path']} was changed too, which nobody asked for"
        yield replace(good, what=what, good=False, episode=episode)


def _trial(
    world: World, task: Task, actions: Sequence[Action], said: Sequence[str], what: str
) -> Trial:
    environment = fresh(world.domain, world.database, task)
    messages = _transcript(environment, task, actions, said)
    episode = episode_of(world, task, Ended(environment, Stop.USER_STOP), messages)
    parts = local_parts(world.domain, task, environment, messages)
    return Trial(what, all(parts.values()), episode, environment)


def _transcript(
    environment: Environment, task: Task, actions: Sequence[Action], said: Sequence[str]
) -> list[dict[str, Any]]:
    """The shortest dialogue with these calls and words."""
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


def _foreign(good: Trial) -> Change | None:
    """A record that the good end leaves alone, with one field of it spoiled."""
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
    """A token of a JSON pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")
