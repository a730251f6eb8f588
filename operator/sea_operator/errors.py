"""The errors of the operator; callers decide by type and by `permanent`, never by words.

OperatorError
|- NoClusterError            nothing says where the API server is
|- BusyError                 too many passes of a namespace wait for the API server
|- WorkersStuckError         no pass has ended for minutes: the process ends
|- CoordinatorRefusedError   a coordinator didn't take its spec: sent again by the next pass
`- KubeError                 a request to the API server failed
   |- NotFoundError          404
   |- ConflictError          409: somebody else wrote first, or the uid isn't the expected one
   |- ExpiredError           410: the history that a watch or a page asks for is gone
   |- RejectedError          400, 403, 405, 413, 422: asking again gets the same answer
   |- UnavailableError       401 (a token being rotated), 429, 5xx, time-outs: ask again later
   |  `- ServerFaultError    500: also what the API server answers to an apply that it can't read
   `- NotLeadingError        raised before a write is sent, when the lease is no longer ours
"""

from typing import ClassVar

from sea_api.errors import SeaError

REJECTED = frozenset({400, 403, 405, 413, 422})


class OperatorError(SeaError):
    """Base of the operator's errors."""


class NoClusterError(OperatorError):
    """Neither a kubeconfig nor a ServiceAccount says where the API server is."""


class BusyError(OperatorError):
    """Too many passes over jobs of one namespace are slow: the pass comes later."""

    permanent: ClassVar[bool] = False


class WorkersStuckError(OperatorError):
    """No pass has ended for minutes although some are due; the process ends and gives its lease
    back."""


class CoordinatorRefusedError(OperatorError):
    """The coordinator didn't take its spec."""

    permanent: ClassVar[bool] = False


class KubeError(OperatorError):
    """A request to the API server failed."""

    permanent: ClassVar[bool] = False


class NotFoundError(KubeError):
    """The object (or its kind) doesn't exist."""


class ConflictError(KubeError):
    """The object changed between our read and our write."""


class TokenExistsError(ConflictError):
    """A new job has its token already: the pass begins again with it."""


class ExpiredError(KubeError):
    """The resource version is too old; list again."""


class RejectedError(KubeError):
    """The server refuses the request for good: invalid, forbidden, or over a quota."""

    permanent: ClassVar[bool] = True


class UnavailableError(KubeError):
    """The server can't answer now."""


class ServerFaultError(UnavailableError):
    """The server failed, or couldn't read an apply patch."""


class NotLeadingError(KubeError):
    """A pass outlived its lease; its writes are refused."""


def of_status(status: int) -> type[KubeError]:
    """The error class of an HTTP status."""
    if status in REJECTED:
        return RejectedError
    known = {404: NotFoundError, 409: ConflictError, 410: ExpiredError, 500: ServerFaultError}
    return known.get(status, UnavailableError)
