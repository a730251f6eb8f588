"""The base of `sea_data`'s errors, and those that several files raise.

Errors of one file are defined where they are raised.
"""

from sea_api.errors import SeaError


class DataError(SeaError):
    """Something is wrong with a data file, an evaluation or a synthesis."""


class DataFileError(DataError, ValueError):
    """A file that can't be read, or not to its end."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class NoSuchFileError(DataFileError):
    """There is no file at the address."""


class RowError(DataError, ValueError):
    """A row that can't be used; with a file but no line, the whole file can't be."""

    def __init__(self, field: str, reason: str, file: str = "", line: int = 0) -> None:
        super().__init__(field, reason, file, line)
        self.field = field
        self.reason = reason
        self.file = file
        self.line = line

    def at(self, file: str, line: int) -> "RowError":
        """The same error with its place."""
        return RowError(self.field, self.reason, file, line)

    def __str__(self) -> str:
        of_file = self.file and not self.line
        place = f"{self.file}:{self.line}" if self.line else self.file
        parts = (place, self.field or ("" if of_file else "row"), self.reason)
        return ": ".join(part for part in parts if part)


class EvaluationError(DataError):
    """An evaluation can't begin or go on."""


class EndpointUselessError(EvaluationError):
    """Episode after episode ends without a verdict: going on would only waste requests."""
