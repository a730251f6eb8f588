"""Times as the status has them: RFC 3339 in UTC, whole seconds."""

import functools
from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Unix seconds as Kubernetes writes times."""
    return _stamp(int(seconds))


# A pass writes the time of now several times.
@functools.lru_cache(maxsize=64)
def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def not_after(text: str, now: float) -> str:
    """A time, or `now` (unix seconds) in place of one that is still to come.

    The leader before this one may have had a clock that ran ahead: timers that count from such a
    time would run for so much longer. They begin again instead.
    """
    return stamp(now) if unix_seconds(text) > now else text


def unix_seconds(text: str) -> float:
    """A time as a status has it; 0 for a text that is none.

    The CRD takes any text, and anybody with the right to may edit a status by hand: a pass that
    raised here would fail forever. 0 ends every timer that counts from it.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
