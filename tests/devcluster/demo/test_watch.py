"""Following a job: a short outage is waited for, everything else ends with a sentence."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client import ApiException
from rich.console import Console
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError

from sea_devcluster.demo import watch
from sea_devcluster.errors import DemoError

AWAY = MaxRetryError(HTTPConnectionPool("127.0.0.1"), "/", None)
BUSY = ApiException(status=503, reason="Service Unavailable")
GONE = ApiException(status=404, reason="Not Found")
SEEN = {"status": {"conditions": [{"type": "Complete", "status": "False"}]}}
COMPLETE = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
JOB = {"metadata": {"name": "tiny"}, "spec": {"stages": []}}


class Time:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


def _follow(answers: Callable[[float], Any]) -> watch.Observation:
    time = Time()

    def fetch() -> dict[str, Any]:
        answer = answers(time.now)
        if isinstance(answer, Exception):
            raise answer
        return {**JOB, **answer}

    console = Console(file=io.StringIO())
    return watch.follow(
        fetch, console, limit_seconds=3600, clock=lambda: time.now, pause=time.pause
    )


@pytest.mark.parametrize("passing", [AWAY, BUSY])
def test_an_api_server_that_is_away_for_a_moment_is_waited_for(passing: Exception) -> None:
    seen = _follow(lambda now: passing if 5 < now < 40 else COMPLETE if now > 50 else SEEN)
    assert seen.job["status"] == COMPLETE["status"]


def test_an_api_server_that_stays_away_is_reported() -> None:
    with pytest.raises(DemoError, match=r"no answer for 6\d s"):
        _follow(lambda now: AWAY if now > 5 else SEEN)


def test_a_job_that_was_deleted_is_reported_at_once() -> None:
    with pytest.raises(DemoError, match="was deleted"):
        _follow(lambda now: GONE if now > 5 else SEEN)


def test_an_operator_that_never_reconciles_the_job_is_reported() -> None:
    """A wrong registry would otherwise cost an hour."""
    with pytest.raises(DemoError, match="kubectl -n sea-system get pods"):
        _follow(lambda _: {})
