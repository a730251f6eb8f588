"""What can go wrong when a pod talks to its coordinator.

CoordinatorError
 |- CoordinatorUnreachableError   no usable answer within the patience
 |- StaleAttemptError          409: the caller belongs to an attempt that is over
 `- RequestRefusedError           another 4xx: the caller asked for something impossible
"""


class CoordinatorError(Exception):
    """Anything that went wrong in a call; the message names method and path."""


class CoordinatorUnreachableError(CoordinatorError):
    pass


class StaleAttemptError(CoordinatorError):
    pass


class RequestRefusedError(CoordinatorError):
    pass
