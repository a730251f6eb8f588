"""The base of `sea_data`'s errors, and those that several files raise.

Errors of one file are defined where they are raised.
"""

from sea_api.errors import SeaError


class DataError(SeaError):
    """Something is wrong with a data file, an evaluation or a synthesis."""


class EvaluationError(DataError):
    """An evaluation can't begin or go on."""


class EndpointUselessError(EvaluationError):
    """Episode after episode ends without a verdict: going on would only waste requests."""
