"""Records of mock's two databases. Validation adds absent optional fields."""

from typing import Literal

from pydantic import BaseModel

from sea_env.domains.validation import ClosedModel

Status = Literal["pending", "completed"]


class Task(BaseModel):
    task_id: str
    title: str
    description: str | None = None
    status: Status


class User(BaseModel):
    user_id: str
    name: str
    tasks: list[str]


class MockTables(ClosedModel):
    """The agent's database."""

    tasks: dict[str, Task]
    users: dict[str, User]


class Notification(ClosedModel):
    notification_id: str
    message: str
    status: Literal["unread", "read"] = "unread"
    task_id: str | None = None


class InboxTables(ClosedModel):
    """The user's database."""

    notifications: dict[str, Notification] = {}
