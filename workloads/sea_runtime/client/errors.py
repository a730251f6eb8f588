"""What can go wrong when a pod talks to its coordinator.

CoordinatorError
 |- CoordinatorUnreachableError   no usable answer within the patience
 |- StaleAttemptError          409: the caller belongs to an attempt that is over
 `- RequestRefusedError           another 4xx: the caller asked for something impossible
"""

from sea_runtime.errors import RuntimeFailure


class CoordinatorError(RuntimeFailure):
    """Anything that went wrong in a call; the message names method and path."""


class CoordinatorUnreachableError(CoordinatorError):
    permanent = False


class StaleAttemptError(CoordinatorError):
    pass


class RequestRefusedError(CoordinatorError):
    pass
