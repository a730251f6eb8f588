"""Mock's tools of both sides, its assertions, and what its initial states call."""

from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.edited_record import extend
from sea_env.domains.mock.records import Status
from sea_env.domains.overlay import Record
from sea_env.domains.state import State, finder
from sea_env.domains.toolkit import tool

_INBOX = "notifications"


_task = finder("tasks", "Task {} not found")
_user = finder("users", "User {} not found")


def _notification(state: State, notification_id: str) -> Record:
    _require_inbox(state)
    found = state.user.get(_INBOX, notification_id)
    if found is None:
        raise ToolError(f"Notification {notification_id} not found")
    return found


def _require_inbox(state: State) -> None:
    # With initial data tau2-bench gives both sides the agent's database, which has no inbox.
    if state.user is state.agent:
        raise ToolError("The database has no notifications")


@tool(Kind.WRITE)
def create_task(state: State, user_id: str, title: str, description: str = None) -> Record:  # type: ignore[assignment]  # noqa: RUF013 - tau2's schema has a string that is null by default
    """Create a task for a user."""
    _user(state, user_id)
    task_id = f"task_{sum(1 for _ in state.agent.items('tasks')) + 1}"
    task = {
        "task_id": task_id,
        "title": title,
        "description": description,
        "status": "pending",
    }
    state.agent.put("tasks", task_id, task)
    extend(state.agent.edit("users", user_id), "tasks", [task_id])
    return task


@tool(Kind.READ)
def get_users(state: State) -> list[Any]:
    """Get all users."""
    return [user for _, user in state.agent.items("users")]


@tool(Kind.WRITE)
def update_task_status(state: State, task_id: str, status: Status) -> Record:
    """Set the status of a task."""
    _task(state, task_id)
    task = state.agent.edit("tasks", task_id)
    task["status"] = status
    return task


@tool(Kind.READ)
def check_notifications(state: State) -> list[Any]:
    """See all notifications in your inbox."""
    _require_inbox(state)
    return [notification for _, notification in state.user.items(_INBOX)]


@tool(Kind.WRITE)
def dismiss_notification(state: State, notification_id: str) -> str:
    """Mark a notification as read."""
    _notification(state, notification_id)
    state.user.edit(_INBOX, notification_id)["status"] = "read"
    return f"Notification {notification_id} dismissed"


@tool(Kind.WRITE)
def add_notification(
    state: State, notification_id: str, message: str, task_id: str | None = None
) -> None:
    """Put an unread notification into the user's inbox."""
    _require_inbox(state)
    notification = {
        "notification_id": notification_id,
        "message": message,
        "status": "unread",
        "task_id": task_id,
    }
    state.user.put(_INBOX, notification_id, notification)


@tool(Kind.READ)
def assert_number_of_tasks(state: State, user_id: str, expected_number: int) -> bool:
    """Whether a user has that many tasks."""
    return len(_user(state, user_id)["tasks"]) == expected_number


@tool(Kind.READ)
def assert_task_status(state: State, task_id: str, expected_status: str) -> bool:
    """Whether a task has this status."""
    return bool(_task(state, task_id)["status"] == expected_status)


@tool(Kind.READ)
def assert_notification_status(state: State, notification_id: str, expected_status: str) -> bool:
    """Whether a notification has this status."""
    return bool(_notification(state, notification_id)["status"] == expected_status)
