"""One background job at a time, whose failure surfaces where its result is asked for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Background(Generic[Result]):
    """Runs `work` in a daemon thread: a stuck upload never keeps a dying process alive."""

    def __init__(self, name: str, work: Callable[[], Result]) -> None:
        self._work = work
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """The failure, once done."""
        return self._error if self.done else None

    def wait(self, seconds: float) -> bool:
        """Waits at most so long; whether it's done."""
        self._thread.join(seconds)
        return self.done

    def result(self) -> Result:
        """Waits for the end; raises what the work raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]
