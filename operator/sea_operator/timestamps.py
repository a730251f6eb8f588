"""Times as the status has them: RFC 3339 in UTC, whole seconds."""

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Unix seconds as Kubernetes writes times."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def unix_seconds(text: str) -> float:
    """A time as a status has it; 0 for a text that is none.

    The CRD takes any text, and anybody with the right to may edit a status by hand: a pass that
    raised here would fail forever. 0 ends every timer that counts from it.
    """
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
