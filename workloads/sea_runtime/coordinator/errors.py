"""What can go wrong in the coordinator, and which HTTP status says so.

CoordinatorFailure
 |- PreconditionError             the user's data or model must be corrected first
 |   `- BadRowError               one row; `onBadRow: Skip` leaves it out instead
 |- LedgerError                   the ledger's file is unusable
 |   `- LedgerUnavailableError    503: it can't be written now (a full volume); transient
 |- ModelUnavailableError         a base model can't be downloaded now; transient
 |- StaleError                    409: the caller's attempt has ended, or the lease is not its own
 |- NotReadyError                 503: ask again
 |- GoneError                     410: pruned, no longer available
 `- RefusedError                  400: the request itself is wrong
"""

from sea_api.wire.state import Problem, Severity
from sea_runtime.errors import RuntimeFailure


class CoordinatorFailure(RuntimeFailure):
    """A request or a piece of background work that failed; the message is a sentence."""

    status = 500
    """HTTP status of the answer."""


class PreconditionError(CoordinatorFailure):
    """A mistake in the job's data or model, with the reason that the operator shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(reason=reason, message=message, severity=Severity.ERROR)


class BadRowError(PreconditionError):
    def __init__(self, reason: str, file: str, line: int, message: str) -> None:
        super().__init__(reason, f"{file} line {line}: {message}")


class LedgerError(CoordinatorFailure):
    pass


class LedgerUnavailableError(LedgerError):
    status = 503
    permanent = False


class ModelUnavailableError(CoordinatorFailure):
    permanent = False


class StaleError(CoordinatorFailure):
    status = 409


class NotReadyError(CoordinatorFailure):
    status = 503
    permanent = False


class GoneError(CoordinatorFailure):
    status = 410


class UnknownLayoutsError(CoordinatorFailure):
    """A weight version names layouts that were never sent, or that a lost ledger knew."""

    status = 428


class RefusedError(CoordinatorFailure):
    status = 400
