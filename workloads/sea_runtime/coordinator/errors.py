"""What can go wrong in the coordinator, and which HTTP status says so.

CoordinatorFault
 |- LedgerError            the ledger's file is unusable
 |   `- IllegalMoveError   a state may not follow another: a bug, the transaction is undone
 |- StaleError             409: the caller's attempt is over, or the lease is not its own
 |- NotReadyError          503: ask again
 |- GoneError              410: pruned, it can't be had any more
 `- RefusedError           400: the request itself is wrong
"""


class CoordinatorFault(Exception):  # noqa: N818 (a name without Error keeps it apart from the client's tree)
    """Anything the coordinator says no to; the message is a sentence for the caller."""

    status = 500


class LedgerError(CoordinatorFault):
    pass


class IllegalMoveError(LedgerError):
    pass


class StaleError(CoordinatorFault):
    status = 409


class NotReadyError(CoordinatorFault):
    status = 503


class GoneError(CoordinatorFault):
    status = 410


class RefusedError(CoordinatorFault):
    status = 400
