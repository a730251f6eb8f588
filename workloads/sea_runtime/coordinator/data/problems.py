"""Mistakes in the job's data, as the operator shows them in the `Stalled` condition."""

from sea_api.wire.state import Problem


class DataProblem(Exception):  # noqa: N818 (a problem of the user's, not an error of ours)
    """Something the user has to change; carries the reason and the sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(reason=reason, message=message)


class RowProblem(DataProblem):
    """One row is wrong: `onBadRow: Skip` leaves it out instead."""

    def __init__(self, reason: str, file: str, line: int, message: str) -> None:
        super().__init__(reason, f"{file} line {line}: {message}")
