"""A mock call: the team, the people and tasks it is about, and the inbox's notifications."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_env.domains import fake_people
from sea_env.domains.database import Database

Record = Mapping[str, Any]

_VERBS = ("Clean", "Collect", "Inspect", "Move", "Order", "Paint", "Photograph", "Sort")
_THINGS = (
    "the east stairs",
    "the garden tools",
    "the guest badges",
    "the old chairs",
    "the parcels",
    "the projector",
    "the storage room",
    "the window frames",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


class Team:
    """Lookups in a database; built once."""

    def __init__(self, database: Database) -> None:
        users: Mapping[str, Record] = database.agent["users"]
        self.tasks: Mapping[str, Record] = database.agent["tasks"]
        self.names = Counter(user["name"] for user in users.values())
        self.users = [user for user in users.values() if self.names[user["name"]] == 1]
        """Users with a unique name."""
        self.owned = [
            (user, self.tasks[key])
            for user in self.users
            for key in user["tasks"]
            if key in self.tasks
        ]
        self.notices = set(database.user["notifications"])


@dataclass
class CustomerCall:
    """One call; no two of its goals are about the same person."""

    team: Team
    mode: ToolMode
    phrasing: Phrasing
    initial_actions: list[dict[str, Any]] = field(default_factory=list)
    """`initialization_actions` of the task."""
    _met: set[str] = field(default_factory=set)
    _looked: bool = False

    @property
    def rng(self) -> random.Random:
        return self.phrasing.rng

    def user(self) -> Record:
        """A user whom the call isn't about yet; raises NoCandidateError."""
        return self._meet([(user, {}) for user in self.team.users], "a user")[0]

    def task(self, status: str, *, only: bool = False) -> tuple[Record, Record]:
        """An owner and a task of this status; with `only`, the owner's only task."""
        able = [
            (user, task)
            for user, task in self.team.owned
            if task["status"] == status and (not only or len(user["tasks"]) == 1)
        ]
        return self._meet(able, f"{'a single' if only else 'a'} task that is {status}")

    def _meet(self, able: list[tuple[Record, Record]], what: str) -> tuple[Record, Record]:
        fresh = [pair for pair in able if pair[0]["user_id"] not in self._met]
        if not fresh:
            raise NoCandidateError(f"the team has nobody (left) with {what}")
        found = self.rng.choice(fresh)
        self._met.add(found[0]["user_id"])
        return found

    def named(self, user: Record) -> str:
        """The user in the caller's words: with the id if the caller knows ids."""
        return (
            f"{user['name']} ({user['user_id']})" if self.mode is ToolMode.GIVEN else user["name"]
        )

    def stranger(self) -> str:
        """A name that no user of the team has."""
        while True:
            name = fake_people.name(self.rng)
            whole = f"{name['first_name']} {name['last_name']}"
            if whole not in self.team.names:
                return whole

    def title(self) -> str:
        return f"{self.rng.choice(_VERBS)} {self.rng.choice(_THINGS)}"

    def day(self) -> str:
        return self.rng.choice(_DAYS)

    def notify(self, message: str, task_id: str) -> str:
        """Adds an unread notification to the initial state; returns its id."""
        number = len(self.team.notices) + len(self.initial_actions) + 1
        while f"notif_{number}" in self.team.notices:
            number += 1
        arguments = {
            "notification_id": f"notif_{number}",
            "message": message,
            "task_id": task_id,
        }
        self.initial_actions.append(
            {"env_type": "user", "func_name": "add_notification", "arguments": arguments}
        )
        return f"notif_{number}"

    def look_up(self, dialogue: DialogueBuilder) -> None:
        """The agent lists the users, as the policy asks before a change; once per call."""
        if not self._looked:
            self._looked = True
            dialogue.call("get_users")
