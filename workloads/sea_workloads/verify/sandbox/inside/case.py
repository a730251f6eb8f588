"""What a verification function is given: one finished episode. The author's page is
docs/writing-verifiers.md."""

import copy
from typing import Any

Tables = dict[str, Any]

NOTHING: dict[str, Any] = {
    "dialogue": [],
    "changes": [],
    "user_changes": [],
    "expected_changes": [],
    "expected_user_changes": [],
    "task": {},
    "stop": "",
}
"""What a Case is made of, empty."""


class Case:
    """One finished episode. Everything is plain JSON data and the function's own copy."""

    def __init__(self, given: dict[str, Any], agent: Tables, user: Tables) -> None:
        self.dialogue: list[dict[str, Any]] = given["dialogue"]
        """Messages: role (user, assistant, tool), content, tool_calls [{name, arguments}]."""
        self.changes: list[dict[str, Any]] = given["changes"]
        """Of the agent's database: `{"path": JSON pointer, "value"}` or `{"path", "removed"}`."""
        self.user_changes: list[dict[str, Any]] = given["user_changes"]
        self.expected_changes: list[dict[str, Any]] = given["expected_changes"]
        """What the task's expected actions change on a fresh database."""
        self.expected_user_changes: list[dict[str, Any]] = given["expected_user_changes"]
        self.task: dict[str, Any] = given["task"]
        """The task's row, without this function."""
        self.stop: str = given["stop"]
        """Why the dialogue ended: UserStop, Transfer, OutOfScope."""
        self.agent: Tables = patched(agent, self.changes)
        """The agent's database in the end: `{table: {key: record}}`."""
        self.user: Tables = patched(user, self.user_changes)
        """The user's database in the end; empty in most domains."""

    def calls(self, name: str | None = None, role: str = "assistant") -> list[dict[str, Any]]:
        """The tool calls that a role made, all or those of one tool, oldest first."""
        made = [
            call.get("function", call)
            for message in self.dialogue
            if message["role"] == role
            for call in message.get("tool_calls") or ()
        ]
        return [call for call in made if name is None or call["name"] == name]

    def said(self, role: str = "assistant") -> list[str]:
        """The texts that a role said, oldest first."""
        return [m["content"] for m in self.dialogue if m["role"] == role and m.get("content")]


def patched(tables: Tables, changes: list[dict[str, Any]]) -> Tables:
    """The tables with the changes made; what isn't changed is shared with the originals."""
    result = dict(tables)
    for change in changes:
        *folders, last = [_unescape(part) for part in change["path"].split("/")[1:]]
        place = result
        for part in folders:
            place[part] = dict(place.get(part) or {})
            place = place[part]
        if change.get("removed"):
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(change["value"])
    return result


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
