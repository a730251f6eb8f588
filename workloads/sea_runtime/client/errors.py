"""What can go wrong when a pod talks to its coordinator.

CoordinatorError
 |- CoordinatorUnreachableError   no usable answer within the patience
 |- StaleGenerationError          409: the caller belongs to a generation that is over
 `- RequestRefusedError           another 4xx: the caller asked for something impossible
"""


class CoordinatorError(Exception):
    """Anything that went wrong in a call; the message names method and path."""


class CoordinatorUnreachableError(CoordinatorError):
    pass


class StaleGenerationError(CoordinatorError):
    pass


class RequestRefusedError(CoordinatorError):
    pass
