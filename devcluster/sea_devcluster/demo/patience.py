"""Reading the job also from an API server that is away for a moment. Used by `watch`.

On two busy cores an answer can take longer than a request's time-out, and the user's own cluster
may restart its API server: an hour of training must not end for that.
"""

from collections.abc import Callable
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from sea_devcluster.demo.errors import DemoError

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 1.0
NOT_FOUND, TOO_MANY, SERVER_ERROR = 404, 429, 500
Fetch = Callable[[], dict[str, Any]]


def patient(fetch: Fetch, clock: Callable[[], float], pause: Callable[[float], None]) -> Fetch:
    """`fetch`, tried again for a minute where the server doesn't answer or is overloaded.

    The result raises DemoError when that minute is over, the job is gone or may not be read.
    """

    def read() -> dict[str, Any]:
        start = clock()
        while True:
            try:
                return fetch()
            except (ApiException, HTTPError) as error:
                _unless_passing(error)
                if clock() - start > PATIENCE_SECONDS:
                    raise DemoError(
                        f"The API server gave no answer for {clock() - start:.0f} s: {error}"
                    ) from error
            pause(PAUSE_SECONDS)

    return read


def _unless_passing(error: ApiException | HTTPError) -> None:
    if isinstance(error, HTTPError) or error.status in {0, TOO_MANY}:
        return
    if error.status == NOT_FOUND:
        raise DemoError("The job was deleted while the demo watched it.") from error
    if error.status < SERVER_ERROR:
        raise DemoError(f"The job can't be read: {error.status} {error.reason}.") from error
