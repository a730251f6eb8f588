"""Records of mock's two databases. Validation adds absent optional fields."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

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


class MockTables(BaseModel):
    """The agent's database."""

    model_config = ConfigDict(extra="forbid")

    tasks: dict[str, Task]
    users: dict[str, User]


class Notification(BaseModel):
    model_config = ConfigDict(extra="forbid")

    notification_id: str
    message: str
    status: Literal["unread", "read"] = "unread"
    task_id: str | None = None


class InboxTables(BaseModel):
    """The user's database."""

    model_config = ConfigDict(extra="forbid")

    notifications: dict[str, Notification] = {}
