"""Everything that can go wrong when a devcluster is built, started or stopped.

    DevclusterError
    ├── BinariesError      the control plane's programs cannot be found or built
    ├── PreflightError     the machine lacks something; raised before anything was started
    ├── StartError         a component did not become ready
    ├── RecordError        what a cluster wrote about itself is broken
    └── ApiError           the API server answered with an error

Each message is a full sentence: what was wrong, where, what to do.
"""


class DevclusterError(Exception):
    """Base of all errors that a user of the devcluster can meet."""


class BinariesError(DevclusterError):
    """The control plane's programs cannot be found or built."""


class PreflightError(DevclusterError):
    """The machine lacks something; nothing has been started."""


class StartError(DevclusterError):
    """A component did not become ready in time, or ended while starting."""


class RecordError(DevclusterError):
    """A file by which a cluster is found again is empty, cut or of another shape."""


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


def refused_by_system(error: OSError) -> str:
    """The sentence for what the operating system refused: a full disk, a folder of another user."""
    if error.filename is None:
        return (
            f"A connection on this machine failed ({error or type(error).__name__}); try again, "
            "and if it stays so look at the logs (`python -m sea_devcluster logs --help`)."
        )
    return (
        f"{error.filename}: {error.strerror}; free some space or change the permissions there, or "
        "set XDG_STATE_HOME and XDG_CACHE_HOME to folders that you can write."
    )
