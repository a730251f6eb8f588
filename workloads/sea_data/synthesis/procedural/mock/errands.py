"""What a mock caller may want: tasks made and set, its inbox settled, and what must be refused."""

from collections.abc import Callable, Mapping

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural import calling
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.mock.scene import Call

MakeErrand = Callable[[Call], Errand]

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


def create(call: Call) -> Errand:
    """A task with a title alone."""
    return _create(call, "")


def describe(call: Call) -> Errand:
    """A task with a description."""
    return _create(call, f"Before {call.day()}.")


def _create(call: Call, description: str) -> Errand:
    user, title = call.user(), call.title()
    also = f"the description '{description}'" if description else "no description"
    wish = f"have a new task made for {call.named(user)}, with the title '{title}' and {also}"
    given = {"description": description} if description else {}

    def settle(desk: Desk) -> str:
        call.look_up(desk)
        made = desk.call("create_task", user_id=user["user_id"], title=title, **given)
        return f"{user['name']} now has the task '{title}'; its id is {made['task_id']}."

    return Errand(wish, settle)


def complete(call: Call) -> Errand:
    return _status(call, "pending", "completed")


def reopen(call: Call) -> Errand:
    return _status(call, "completed", "pending")


def _status(call: Call, old: str, new: str) -> Errand:
    """By its id; or as somebody's only task, whose id only the list of users holds."""
    search = call.mode is ToolMode.SEARCH
    user, task = call.task(old, only=search)
    what = f"the only task of {user['name']}" if search else f"the task {task['task_id']}"

    def settle(desk: Desk) -> str:
        call.look_up(desk)
        desk.call("update_task_status", task_id=task["task_id"], status=new)
        return f"The task {task['task_id']}, '{task['title']}', is {new} now."

    return Errand(f"have {what} set to {new}", settle)


def reported(call: Call) -> Errand:
    """The caller's inbox says which task is done: it reads the id there, and dismisses it."""
    user, task = call.task("pending")
    notice = call.notify(f"{user['name']} reports that '{task['title']}' is done.", task["task_id"])

    def settle(desk: Desk) -> str:
        desk.agent("Which task is it? Its id should be in that notification.")
        desk.user_call("check_notifications")
        desk.user(f"It is {task['task_id']}.")
        call.look_up(desk)
        desk.call("update_task_status", task_id=task["task_id"], status="completed")
        desk.agent(f"{task['task_id']} is completed. You can dismiss the notification now.")
        desk.user_call("dismiss_notification", notification_id=notice)
        desk.user("I have dismissed it.")
        return "Thank you, then both are settled."

    wish = f"have the task set to completed that {user['name']} reports as done in {{my}} inbox"
    return Errand(wish, settle, note=_DISMISSES)


def dismiss(call: Call) -> Errand:
    """The agent can't: it says so, and the caller does it."""
    user, task = call.task("completed")
    notice = call.notify(f"'{task['title']}' was {user['name']}'s task.", task["task_id"])

    def settle(desk: Desk) -> str:
        desk.agent("I can neither see nor dismiss your notifications, but you can do it yourself.")
        desk.user_call("check_notifications")
        desk.user_call("dismiss_notification", notification_id=notice)
        desk.user("All right, I have dismissed it myself.")
        return "Thank you for doing that."

    wish = f"have the notification about the task that was {user['name']}'s dismissed"
    return Errand(wish, settle, note=f"{_DISMISSES} {_DOES_IT}")


def ask(call: Call) -> Errand:
    """Which tasks somebody has: the list of users tells."""
    user = call.user()
    known = tuple(user["tasks"])

    def settle(desk: Desk) -> str:
        call.look_up(desk)
        return f"{user['name']} has {', '.join(known) or 'no task'}."

    wish = f"know the ids of all tasks of {call.named(user)}"
    return Errand(wish, settle, communicate=known)


def refuse_stranger(call: Call) -> Errand:
    """A task needs a user of the team."""
    name, title = call.stranger(), call.title()
    wish = f"have a new task with the title '{title}' made for {name}"
    why = f"{name} isn't a user, and a task needs one."
    return calling.refused(wish, why, call.look_up, call.voice)


def out_of_scope(call: Call) -> Errand:
    user, task = call.task(call.rng.choice(("pending", "completed")))
    wish = call.rng.choice(_OUT_OF_SCOPE).format(task=task["task_id"], name=user["name"])
    return calling.transferred(wish)


GOALS: Mapping[str, MakeErrand] = {
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
"""Goals that put a notification into the inbox."""
