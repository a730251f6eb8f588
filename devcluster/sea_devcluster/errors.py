"""The errors of the devcluster, its nodes and the demo.

    SeaError
    `- DevclusterError
       |- BinariesError        the control plane's programs cannot be found or built
       |- PreflightError       the machine lacks something; raised before anything was started
       |- StartError           a component did not become ready
       |  `- PortTakenError    because another program listens on its port
       |- RecordError          a file that describes a cluster is broken
       |- ApiError             the API server answered with an error status
       |- ApiUnreachableError  the API server could not be reached in time
       `- DemoError            the demo cannot go on

Errors that only one file raises are defined there. Each message is a full sentence: what was wrong,
where, what to do.
"""

from sea_api.errors import SeaError


class DevclusterError(SeaError):
    """Base of all errors that a user of the devcluster can meet."""


class BinariesError(DevclusterError):
    """The control plane's programs cannot be found or built."""


class PreflightError(DevclusterError):
    """The machine lacks something; nothing has been started."""


class StartError(DevclusterError):
    """A component did not become ready in time, or ended while starting."""

    permanent = False


class PortTakenError(StartError):
    """A component could not listen on its port; another one may be free."""


class RecordError(DevclusterError):
    """A file that describes a cluster is empty, truncated or of another shape."""


class ApiError(DevclusterError):
    """The API server refused a request.

    Attributes:
        status: HTTP status code.
        reason: The Kubernetes reason, such as `NotFound` or `Conflict`.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ApiUnreachableError(DevclusterError):
    """The API server could not be reached in time."""

    permanent = False


class DemoError(DevclusterError):
    """The demo cannot go on; printed as one sentence, never as a traceback."""


def refused_by_system(error: OSError) -> str:
    """A sentence for an error of the operating system: a full disk, another user's folder."""
    if error.filename is None:
        words = str(error) or type(error).__name__
        return (
            f"A connection on this machine failed ({words}); try again, "
            "and if it still fails look at the logs (`python -m sea_devcluster logs --help`)."
        )
    return (
        f"{error.filename}: {error.strerror}; free some space or change the permissions there, or "
        "set XDG_STATE_HOME and XDG_CACHE_HOME to folders that you can write."
    )
