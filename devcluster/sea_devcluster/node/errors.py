"""The node agent's exceptions.

NodeError
├── ConfigError               the agent's own configuration can't be used
├── ApiError                  the API server answered with an error status
├── ApiUnreachableError       the API server couldn't be reached in time
├── MissingReferenceError     a pod names a Secret, ConfigMap or key that isn't there (yet)
├── UnknownImageError         a pod names an image that this devcluster doesn't map to programs
├── SandboxError              a container couldn't be started
└── AddressesExhaustedError   every address of the pod subnet is taken
"""


class NodeError(Exception):
    """Root of the tree."""


class ConfigError(NodeError):
    """The agent's own configuration can't be used."""


class ApiError(NodeError):
    """The API server answered with an error status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"The API server answered {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ApiUnreachableError(NodeError):
    """The API server couldn't be reached in time."""


class MissingReferenceError(NodeError):
    """A pod names a Secret, ConfigMap or key that isn't there (yet)."""


class UnknownImageError(NodeError):
    """A pod names an image that this devcluster doesn't map to programs."""


class SandboxError(NodeError):
    """A container couldn't be started."""


class AddressesExhaustedError(NodeError):
    """Every address of the pod subnet is taken."""
