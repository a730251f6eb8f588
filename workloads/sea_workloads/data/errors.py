"""What is wrong with a row of a data file: file, line, field and reason in one sentence."""


class RowError(ValueError):
    """A row that can't be used."""

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
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.field or 'row'}: {self.reason}"
