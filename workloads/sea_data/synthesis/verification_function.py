"""Generates a task's verification function: Python source that judges an end state.

It is generated from the changes that the expected actions make to a fresh database, so it needs
neither the tools nor the actions. It compares the records that must change, requires that no other
has changed, and looks for what the agent must say.
"""

import json
from collections.abc import Sequence
from typing import Any

from sea_env.domains.overlay import Change, Tables

_TEMPLATE = '''\
import json

EXACT = {exact}
AGENT = json.loads({agent})
USER = json.loads({user})
SAID = json.loads({said})


def made(change, found):
    """Whether a change was made; of a table that is a list, the records that had to change."""
    for one in found:
        if one["path"] == change["path"]:
            if "records" not in change:
                return one == change
            same = all(record in one["value"] for record in change["records"])
            return same and (not EXACT or len(one["value"]) == change["length"])
    return False


def verify(episode):
    """Wants these changes of both databases (EXACT: no others), and these pieces said."""
    for side, wanted in (("agent", AGENT), ("user", USER)):
        found = episode[side + "_changes"]
        for change in wanted:
            if not made(change, found):
                return 0.0, side + " database: " + change["path"] + " is not as expected"
        if EXACT and len(found) != len(wanted):
            return 0.0, side + " database: something changed that should not have"
    texts = [
        str(message.get("content") or "").lower().replace(",", "")
        for message in episode["messages"]
        if message["role"] == "assistant"
    ]
    for piece in SAID:
        if not any(piece.lower().replace(",", "") in text for text in texts):
            return 0.0, "the agent never said " + piece
    return 1.0, "end state and answers are as expected"
'''


def without_untouched_records(changes: Sequence[Change], base: Tables) -> list[Change]:
    """The changes; of tables that are lists, which appear whole, only the records that changed."""
    return [_without_untouched_records(change, base) for change in changes]


def _without_untouched_records(change: Change, base: Tables) -> Change:
    table = str(change["path"])[1:]
    if table not in base or not isinstance(change.get("value"), list):
        return change
    held = list(base[table].values())
    records = [
        record
        for place, record in enumerate(change["value"])
        if place >= len(held) or record != held[place]
    ]
    return {"path": change["path"], "records": records, "length": len(change["value"])}


def source(
    agent: Sequence[Change], user: Sequence[Change], said: Sequence[str], *, exact: bool = True
) -> str:
    """The function for an expected end state: both sides' changes `without_untouched_records`.

    `exact`: nothing else may have changed. A task that isn't judged by its databases can be solved
    in several ways, some of which change more.
    """
    return _TEMPLATE.format(
        exact=exact, agent=_literal(agent), user=_literal(user), said=_literal(said)
    )


def run_own(code: str, episode: dict[str, Any]) -> tuple[float, str]:
    """Runs a function from `source` in this process. Never pass one that a model wrote."""
    space: dict[str, Any] = {}
    exec(compile(code, "<verification function>", "exec"), space)  # noqa: S102 - our own text
    reward, reason = space["verify"](episode)
    return float(reward), str(reason)


def _literal(value: object) -> str:
    return repr(json.dumps(value))
