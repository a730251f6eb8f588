"""The sandbox's own failures, which are never a reward."""


class SandboxError(RuntimeError):
    """The sandbox could not be had, or broke: the episode has no verdict and is run again."""
