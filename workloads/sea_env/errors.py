"""The base of what this package raises for somebody to act on; each error is next to its raiser."""

from sea_api.errors import SeaError


class EnvError(SeaError):
    """An environment, a user, a verifier or a model behind them can't do what it was asked for."""
