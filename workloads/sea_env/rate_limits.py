"""How long a server asks its clients to wait, from the headers and the body of an error. Pure.

`chat` waits that long, within bounds, before it asks again. Servers say it in five ways:
`Retry-After` in seconds or as a date (RFC 9110, 10.2.3), `retry-after-ms`, the headers
`x-ratelimit-reset-*` of OpenAI and its imitators (`6m0s`, `850ms` or plain seconds), the `*-reset`
times of Anthropic (RFC 3339), and, in the body, Google's `retryDelay` or a sentence ("try again in
1.2s").
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_IN_BODY = re.compile(
    r"(?:\"retryDelay\"\s*:\s*\"|(?:try again|retry) (?:in|after) )"
    r"((?:\d+(?:\.\d+)?(?:ms|h|m|s))+|\d+(?:\.\d+)?(?= ?sec))",
    re.IGNORECASE,
)
_BUDGETS = ("requests", "tokens")


def pause_asked(headers: Mapping[str, str], body: str, now: datetime) -> float | None:
    """Seconds that the server asks to wait, at least 0; None if it doesn't say.

    `headers` are looked up in lower case. An explicit `Retry-After` comes before budgets, and of
    two exhausted budgets the later one counts.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    for found in (_milliseconds(lower), _retry_after(lower, now), _budgets(lower, now)):
        if found is not None:
            return max(0.0, found)
    match = _IN_BODY.search(body)
    return _duration(match[1]) if match else None


def _milliseconds(headers: Mapping[str, str]) -> float | None:
    value = _number(headers.get("retry-after-ms", ""))
    return None if value is None else value / 1000


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("retry-after", "")
    found = _duration(text)
    if found is not None or not text:
        return found
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # RFC 5322 allows a date without a zone ("-0000"), which means UTC.
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()


def _budgets(headers: Mapping[str, str], now: datetime) -> float | None:
    return max(_exhausted(headers, now), default=None)


def _exhausted(headers: Mapping[str, str], now: datetime) -> Iterator[float]:
    """When each budget that is used up is full again."""
    for budget in _BUDGETS:
        for remaining, reset in (
            (f"x-ratelimit-remaining-{budget}", f"x-ratelimit-reset-{budget}"),
            (f"anthropic-ratelimit-{budget}-remaining", f"anthropic-ratelimit-{budget}-reset"),
        ):
            # A budget with something left isn't what the request was refused for.
            if headers.get(remaining, "0") == "0" and reset in headers:
                found = _duration(headers[reset])
                found = _until(headers[reset], now) if found is None else found
                if found is not None:
                    yield found


def _duration(text: str) -> float | None:
    """`20`, `1.5`, `850ms`, `6m0s`; None for anything else."""
    if _DURATION.fullmatch(text):
        return sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    return _number(text)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def _until(text: str, now: datetime) -> float | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
