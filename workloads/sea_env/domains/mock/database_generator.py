"""Generates mock databases: a few users, their tasks, and the inbox of the first user."""

import random
from typing import Any

from sea_env.domains import fake_people
from sea_env.domains.database_generator import GeneratedDatabase, Size, seeded_random

_POLICY = """\
You keep a small team's task list.

- You may create tasks for a user and set a task's status to `pending` or `completed`. Look the
  users up with `get_users` first.
- A new task needs the user it is for and a title; a description is optional. It begins `pending`.
- Change nothing that the user did not ask for. You can't see or dismiss the user's notifications:
  the user can.
- Make one call at a time, and either call a tool or write to the user, never both at once.
- For anything else call `transfer_to_human_agents` with a summary.
"""

# One call lists all users, so even the large database stays readable.
_USERS = {Size.SMALL: 3, Size.MEDIUM: 12, Size.LARGE: 60}
_VERBS = ("Order", "Check", "Repair", "Describe", "Count", "Label")
_THINGS = (
    "the shelves",
    "the invoices",
    "the spare keys",
    "the north door",
    "the paint",
    "the van",
)


def generate_database(size: Size, seed: int) -> GeneratedDatabase:
    """3, 12 or 60 users with up to three tasks each; the inbox announces the first user's tasks."""
    rng = seeded_random("mock", size, seed)
    users: dict[str, Any] = {}
    tasks: dict[str, Any] = {}
    for number in range(1, _USERS[size] + 1):
        name = fake_people.name(rng)
        # Ids without a gap: `create_task` derives a new id from the number of tasks.
        own = [_task(f"task_{len(tasks) + i}", rng) for i in range(1, rng.randint(1, 3) + 1)]
        tasks.update({task["task_id"]: task for task in own})
        users[f"user_{number}"] = {
            "user_id": f"user_{number}",
            "name": f"{name['first_name']} {name['last_name']}",
            "tasks": [task["task_id"] for task in own],
        }
    notices = [
        _notification(index, tasks[key]) for index, key in enumerate(users["user_1"]["tasks"], 1)
    ]
    inbox = {notification["notification_id"]: notification for notification in notices}
    return GeneratedDatabase({"tasks": tasks, "users": users}, {"notifications": inbox}, _POLICY)


def _task(task_id: str, rng: random.Random) -> dict[str, Any]:
    title = f"{rng.choice(_VERBS)} {rng.choice(_THINGS)}"
    return {
        "task_id": task_id,
        "title": title,
        "description": f"{title} before Friday." if rng.random() < 0.5 else None,
        "status": rng.choice(("pending", "pending", "completed")),
    }


def _notification(index: int, task: dict[str, Any]) -> dict[str, Any]:
    return {
        "notification_id": f"notif_{index}",
        "message": f"The task '{task['title']}' is yours.",
        "status": "unread",
        "task_id": task["task_id"],
    }
