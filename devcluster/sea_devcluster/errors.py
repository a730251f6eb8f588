"""Everything that can go wrong when a devcluster is built, started or stopped.

    DevclusterError
    ├── BinariesError      the control plane's programs cannot be found or built
    ├── PreflightError     the machine lacks something; raised before anything was started
    ├── StartError         a component did not become ready
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
