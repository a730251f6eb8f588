"""The base class of sea_env's errors. Each is defined next to the code that raises it."""

from sea_api.errors import SeaError


class EnvError(SeaError):
    """An error of tasks, domains, users, episodes or verification."""
