"""What all simulated pods have: a heartbeat of its own thread, and something that they do."""

import threading
import uuid

from sea_runtime.client.calls import CoordinatorError
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState
from sea_testing.coordinator.job import Job


class Pod(threading.Thread):
    """Something that beats its heart every 50 ms and acts between beats."""

    def __init__(self, job: Job, name: str, role: str) -> None:
        super().__init__(daemon=True, name=name)
        self.job, self.pod, self.role = job, name, role
        self.incarnation = uuid.uuid4().hex
        self.client = job.client()
        self.adopted: int | None = None
        self.adopted_attempt = 0
        self.attempt = 0
        self.state = PodState.READY
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.reply = HeartbeatReply()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def run(self) -> None:
        self._heart.start()
        try:
            while not self.ended.is_set():
                self.act()
        except BaseException as error:
            self.error = error
            raise

    def act(self) -> None:
        self.ended.wait(0.05)

    def stop(self) -> None:
        self.ended.set()

    def beat_once(self) -> HeartbeatReply:
        self.reply = self.client.heartbeat(
            Heartbeat(
                pod=self.pod,
                role=self.role,
                address=f"127.0.9.{len(self.pod)}",
                incarnation=self.incarnation,
                state=self.state,
                attempt=self.attempt,
                adopted=self.adopted,
                adopted_attempt=self.adopted_attempt,
            )
        )
        return self.reply

    def _beat(self) -> None:
        while not self.ended.is_set():
            try:
                self.beat_once()
            except CoordinatorError:
                if not self.ended.is_set():
                    raise
            self.ended.wait(0.05)


class Supervisor(Pod):
    """A trainer pod whose rank has nothing to say to the coordinator."""

    def __init__(self, job: Job, name: str) -> None:
        super().__init__(job, name, "trainer")
        self.state = PodState.STARTING

    def act(self) -> None:
        running = self.reply.run and self.reply.world is not None
        self.attempt = self.reply.world.attempt if running and self.reply.world else 0
        self.state = PodState.READY if running else PodState.STARTING
        self.ended.wait(0.02)
