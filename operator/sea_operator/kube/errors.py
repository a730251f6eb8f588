"""What the API server may answer instead of doing what was asked.

KubeError
├── NotFoundError       404
├── ConflictError       409: somebody else wrote first, or the uid isn't the expected one
├── RejectedError       400, 403, 405, 413, 422: asking again gets the same answer
├── UnavailableError    401 (a token being rotated), 429, 5xx, time-outs: ask again later
└── NotLeadingError     raised here, before a write, when the lease is no longer ours
"""

REJECTED = frozenset({400, 403, 405, 413, 422})


class KubeError(Exception):
    """A request to the API server failed."""


class NotFoundError(KubeError):
    """The object (or its kind) doesn't exist."""


class ConflictError(KubeError):
    """The object changed between our read and our write."""


class RejectedError(KubeError):
    """The server refuses the request for good: invalid, forbidden, or over a quota."""


class UnavailableError(KubeError):
    """The server can't answer now."""


class NotLeadingError(KubeError):
    """A pass outlived its lease; its writes are refused."""


def of_status(status: int) -> type[KubeError]:
    """The error class of an HTTP status."""
    if status in REJECTED:
        return RejectedError
    return {404: NotFoundError, 409: ConflictError}.get(status, UnavailableError)
