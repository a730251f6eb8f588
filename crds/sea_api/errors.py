"""The root of every package's errors: each has one base class below `SeaError`.

    SeaError
    |- sea_env.errors.EnvError
    |- sea_data.errors.DataError
    |- sea_runtime.errors.RuntimeFailure
    |- sea_operator.errors.OperatorError
    `- sea_devcluster.errors.DevclusterError

A message is a sentence: what was wrong, where, what to do. Callers decide by type and by
`permanent`, never by words of the message.
"""

from typing import ClassVar


class SeaError(Exception):
    """An error that somebody other than a programmer can act on."""

    permanent: ClassVar[bool] = True
    """True if trying again can't help until something is changed; False for outages."""
