"""A clock that only a test moves."""


class HandClock:
    """Seconds; `now` is set by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
