"""Walks the stages and restarts the trainer in place, as the operator does."""

import threading
from collections.abc import Sequence

from sea_api.v1alpha1.job import Spec
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.pod import Pod
from sea_testing.waiting import wait_for


class Operator(threading.Thread):
    """One pass each 20 ms; a test may set `drain` at any time."""

    def __init__(self, job: Job, spec: Spec, pods: Sequence[Pod] = ()) -> None:
        super().__init__(daemon=True, name="operator")
        self.job, self.spec, self.pods = job, spec, pods
        self.stage, self.attempt, self.drain = 0, 1, False
        self.ended = threading.Event()
        self.complete = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self.once()
                self.ended.wait(0.02)
        except BaseException as error:
            self.error = error
            raise

    def once(self) -> None:
        state = self.job.safe_state()
        if state is None:
            return
        wanted = self.job.desired(self.spec, self.stage, self.attempt, self.drain)
        if state.spec_digest != wanted.digest:
            self.job.put_spec(wanted)
            return
        if state.trainer_failure is not None:
            assert state.trainer_failure.attempt == self.attempt
            self.attempt += 1
        elif state.stages[self.stage].phase == "Complete":
            if self.stage + 1 == len(state.stages):
                self.complete.set()
                self.ended.set()
            else:
                self.stage += 1

    def obeyed(self) -> bool:
        """Whether the coordinator has taken what is wanted now."""
        state = self.job.safe_state()
        wanted = self.job.desired(self.spec, self.stage, self.attempt, self.drain)
        return state is not None and state.spec_digest == wanted.digest

    def finishes(self) -> None:
        """Waits for the job's end; fails at once when a pod does."""
        wait_for("the job's end", self._has_finished)

    def _has_finished(self) -> bool:
        everybody: list[Operator | Pod] = [self, *self.pods]
        failed = [one.error for one in everybody if one.error is not None]
        assert not failed, failed
        return self.complete.wait(0.5)
