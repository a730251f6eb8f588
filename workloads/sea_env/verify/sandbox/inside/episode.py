"""What a verification function gets: one finished episode as plain data of its own.

Its author's page is docs/writing-verifiers.md, which explains every part.
"""

import copy
from typing import Any

Tables = dict[str, Any]

NOTHING: dict[str, Any] = {
    "messages": [],
    "stop": "",
    "task": {},
    "agent_changes": [],
    "user_changes": [],
    "expected_agent_changes": [],
    "expected_user_changes": [],
}
"""What the worker sends for an episode; the databases are added here."""


def episode(given: dict[str, Any], agent: Tables, user: Tables) -> dict[str, Any]:
    """The argument of `verify`: what was sent, plus both databases as the episode left them."""
    return {
        **given,
        "agent_database": patched(agent, given["agent_changes"]),
        "user_database": patched(user, given["user_changes"]),
    }


def patched(tables: Tables, changes: list[dict[str, Any]]) -> Tables:
    """The tables with the changes applied; unchanged parts are shared with the originals."""
    result = dict(tables)
    own: set[tuple[str, ...]] = set()
    for change in changes:
        *folders, last = [_unescape(part) for part in change["path"].split("/")[1:]]
        place: Any = result
        for depth, part in enumerate(folders, start=1):
            # Copy on write: the originals are the zygote's and serve all later functions. A folder
            # that was copied already must not be copied again, or changes below it are lost.
            if (path := tuple(folders[:depth])) not in own:
                own.add(path)
                place[part] = dict(place.get(part) or {})
            place = place[part]
        if change.get("removed"):
            place.pop(last, None)
        else:
            # A function may change what it gets; `given` still holds the original value.
            place[last] = copy.deepcopy(change["value"])
    return result


def _unescape(part: str) -> str:
    # JSON Pointer (RFC 6901): in this order, or "~01" would become "/".
    return part.replace("~1", "/").replace("~0", "~")
