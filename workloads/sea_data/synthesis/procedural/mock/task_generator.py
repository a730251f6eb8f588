"""Mock's task generator: the goals of a caller, and the dialogues of a plan's goals.

A caller may have tasks created and their status set, settle its inbox, and ask for what must be
refused. Some goals put a notification into the inbox of the initial state.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sea_data.synthesis.candidate import Candidate, DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import Plan, ToolMode
from sea_data.synthesis.procedural.goals import (
    Goal,
    refused,
    transferred,
    write_dialogue,
    write_scenario,
)
from sea_data.synthesis.procedural.mock.customer_call import CustomerCall, Team
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_data.synthesis.source_database import initial_database
from sea_env.domains.base import Domain
from sea_env.domains.database import Database

MakeGoal = Callable[[CustomerCall], Goal]

_DISMISSES = (
    "You read your notifications with check_notifications when you need what they say. Once the "
    "agent has dealt with it, you dismiss that notification, and no other, with "
    "dismiss_notification."
)
_DOES_IT = "If the agent can't do it, you do it yourself."
_OUT_OF_SCOPE = (
    "have the task {task} of {name} deleted",
    "have the task {task} of {name} renamed",
    "have {name} removed from the team",
)


def create(call: CustomerCall) -> Goal:
    """Create a task with a title."""
    return _create(call, "")


def describe(call: CustomerCall) -> Goal:
    """Create a task with a title and a description."""
    return _create(call, f"Before {call.day()}.")


def _create(call: CustomerCall, description: str) -> Goal:
    user, title = call.user(), call.title()
    also = f"the description '{description}'" if description else "no description"
    request = f"have a new task made for {call.named(user)}, with the title '{title}' and {also}"
    given = {"description": description} if description else {}

    def resolve(dialogue: DialogueBuilder) -> str:
        call.look_up(dialogue)
        made = dialogue.call("create_task", user_id=user["user_id"], title=title, **given)
        return f"{user['name']} now has the task '{title}'; its id is {made['task_id']}."

    return Goal(request, resolve)


def complete(call: CustomerCall) -> Goal:
    return _status(call, "pending", "completed")


def reopen(call: CustomerCall) -> Goal:
    return _status(call, "completed", "pending")


def _status(call: CustomerCall, old: str, new: str) -> Goal:
    """Set a task's status; in search mode it is a user's only task, whose id the agent looks up."""
    search = call.mode is ToolMode.SEARCH
    user, task = call.task(old, only=search)
    what = f"the only task of {user['name']}" if search else f"the task {task['task_id']}"

    def resolve(dialogue: DialogueBuilder) -> str:
        call.look_up(dialogue)
        dialogue.call("update_task_status", task_id=task["task_id"], status=new)
        return f"The task {task['task_id']}, '{task['title']}', is {new} now."

    return Goal(f"have {what} set to {new}", resolve)


def reported(call: CustomerCall) -> Goal:
    """Complete a task whose id is in the caller's inbox, then dismiss the notification."""
    user, task = call.task("pending")
    notice = call.notify(f"{user['name']} reports that '{task['title']}' is done.", task["task_id"])

    def resolve(dialogue: DialogueBuilder) -> str:
        dialogue.agent("Which task is it? Its id should be in that notification.")
        dialogue.user_call("check_notifications")
        dialogue.user(f"It is {task['task_id']}.")
        call.look_up(dialogue)
        dialogue.call("update_task_status", task_id=task["task_id"], status="completed")
        dialogue.agent(f"{task['task_id']} is completed. You can dismiss the notification now.")
        dialogue.user_call("dismiss_notification", notification_id=notice)
        dialogue.user("I have dismissed it.")
        return "Thank you, then both are settled."

    request = f"have the task set to completed that {user['name']} reports as done in {{my}} inbox"
    return Goal(request, resolve, note=_DISMISSES)


def dismiss(call: CustomerCall) -> Goal:
    """Dismiss a notification: the agent says that it can't, and the caller does it."""
    user, task = call.task("completed")
    notice = call.notify(f"'{task['title']}' was {user['name']}'s task.", task["task_id"])

    def resolve(dialogue: DialogueBuilder) -> str:
        dialogue.agent(
            "I can neither see nor dismiss your notifications, but you can do it yourself."
        )
        dialogue.user_call("check_notifications")
        dialogue.user_call("dismiss_notification", notification_id=notice)
        dialogue.user("All right, I have dismissed it myself.")
        return "Thank you for doing that."

    request = f"have the notification about the task that was {user['name']}'s dismissed"
    return Goal(request, resolve, note=f"{_DISMISSES} {_DOES_IT}")


def ask(call: CustomerCall) -> Goal:
    """Ask which tasks a user has; the list of users says."""
    user = call.user()
    known = tuple(user["tasks"])

    def resolve(dialogue: DialogueBuilder) -> str:
        call.look_up(dialogue)
        return f"{user['name']} has {', '.join(known) or 'no task'}."

    request = f"know the ids of all tasks of {call.named(user)}"
    return Goal(request, resolve, communicate=known)


def refuse_stranger(call: CustomerCall) -> Goal:
    """Create a task for somebody outside the team, which the policy forbids."""
    name, title = call.stranger(), call.title()
    request = f"have a new task with the title '{title}' made for {name}"
    why = f"{name} isn't a user, and a task needs one."
    return refused(request, why, call.look_up, call.phrasing)


def out_of_scope(call: CustomerCall) -> Goal:
    user, task = call.task(call.rng.choice(("pending", "completed")))
    request = call.rng.choice(_OUT_OF_SCOPE).format(task=task["task_id"], name=user["name"])
    return transferred(request)


GOALS: Mapping[str, MakeGoal] = {
    "create": create,
    "create_described": describe,
    "complete": complete,
    "reopen": reopen,
    "reported_done": reported,
    "dismiss": dismiss,
    "ask_tasks": ask,
    "refuse_stranger": refuse_stranger,
    "transfer": out_of_scope,
}
INBOX = frozenset({"reported_done", "dismiss"})
"""Goals that put a notification into the inbox of the initial state."""


_MAX_TRIES = 20
_KNOWN = "You keep a team's task list together with the agent, and have an inbox of notifications."
_NO_IDS = "You know no user's and no task's id, unless a notification tells you."


class MockTaskGenerator:
    """`TaskGenerator` of mock."""

    goals: Sequence[str] = tuple(GOALS)
    max_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        self._team = Team(database)

    def fits(self, goals: Sequence[str]) -> bool:
        """A transfer ends the call; one refusal and one notification are enough for a call."""
        refusals = sum(goal.startswith("refuse") for goal in goals)
        noticed = sum(goal in INBOX for goal in goals)
        return "transfer" not in goals[:-1] and refusals <= 1 and noticed <= 1

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        call, goals = self._choose_customer(plan, rng)
        state = {"initialization_actions": call.initial_actions} if call.initial_actions else None
        dialogue = DialogueBuilder(
            self._domain.open(initial_database(self._domain, self._database, state))
        )
        unknown = [_NO_IDS] if plan.mode is ToolMode.SEARCH else []
        scenario = write_scenario("mock", call.phrasing, goals, _KNOWN, unknown)
        made = write_dialogue(dialogue, call.phrasing, goals, lambda _: None, scenario)
        return replace(made, initial_state=state)

    def _choose_customer(self, plan: Plan, rng: random.Random) -> tuple[CustomerCall, list[Goal]]:
        """A call that all goals fit, and the goals; raises NoCandidateError."""
        reason = ""
        for _ in range(_MAX_TRIES):
            call = CustomerCall(self._team, plan.mode, Phrasing(plan.style, rng))
            try:
                return call, [GOALS[goal](call) for goal in plan.goals]
            except NoCandidateError as error:
                reason = str(error)
        raise NoCandidateError(f"For {' + '.join(plan.goals)}, {reason}.")
