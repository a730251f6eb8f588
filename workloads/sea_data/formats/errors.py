"""What is wrong with a data file or a row of it: file, line, field and reason in one sentence."""

from sea_data.errors import DataError


class DataFileError(DataError, ValueError):
    """A file that can't be read at all, or not to its end."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class NoSuchFileError(DataFileError):
    """There is nothing at the address."""


class RowError(DataError, ValueError):
    """A row that can't be used; without a line, what is wrong with the whole file."""

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
