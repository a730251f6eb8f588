"""Pauses that servers ask for, in all the ways in which they do."""

from datetime import UTC, datetime

import pytest

from sea_env.rate_limits import pause_asked

NOW = datetime(2026, 11, 30, 8, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "59"}, "", 59.0),
        ({"retry-after": "1.5"}, "", 1.5),
        ({"Retry-After": "Mon, 30 Nov 2026 08:01:00 GMT"}, "", 60.0),
        ({"Retry-After": "Mon, 30 Nov 2026 07:59:00 GMT"}, "", 0.0),
        ({"Retry-After": "soon"}, "", None),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, "", 360.0),
        ({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "6m0s"}, "", None),
        (
            {"x-ratelimit-reset-requests": "850ms", "x-ratelimit-reset-tokens": "1m12.5s"},
            "",
            72.5,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-30T08:00:30Z",
            },
            "",
            30.0,
        ),
        ({}, '{"error": {"details": [{"retryDelay": "34s"}]}}', 34.0),
        ({}, "Rate limit reached. Please try again in 1.2s.", 1.2),
        ({}, "Requests to the API have exceeded the limit. Please retry after 7 seconds.", 7.0),
        ({}, "Rate limit reached.", None),
    ],
)
def test_pause(headers: dict[str, str], body: str, seconds: float | None) -> None:
    assert pause_asked(headers, body, NOW) == seconds
