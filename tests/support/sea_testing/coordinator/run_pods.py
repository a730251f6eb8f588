"""The trainer pods of the run of `run_model.py`: supervisors, and what befalls them."""

from sea_api.v1alpha1.policy import Cause
from sea_runtime.coordinator.errors import NotReadyError
from sea_runtime.wire.membership import PodState, TrainerWorld
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.run_operator import RunWithOperator
from sea_testing.coordinator.run_parts import JOIN_ROUNDS, Process, TrainerPod


class RunWithPods(RunWithOperator):
    """Pods whose supervisors call the coordinator, and start and end processes."""

    def _call(self, pod: TrainerPod) -> None:
        runs = self.process is not None and self.process.attempt == pod.attempt
        beat = kit.beat(
            pod.name,
            "trainer",
            pod.incarnation,
            state=(
                PodState.FAILED
                if pod.failed
                else PodState.READY
                if pod.attempt and runs
                else PodState.STARTING
            ),
            attempt=pod.failed or pod.attempt,
            cause=Cause.PROCESS_EXIT if pod.failed else None,
            leaving=pod.leaving,
        )
        try:
            reply = self.core.heartbeats.heard(beat)
        except NotReadyError:
            self.unheard = True
            return
        if pod.leaving and not pod.attempt:
            # As `Supervisor._leave`: it waits for its processes, and has none.
            pod.alive = pod.leaving = False
            return
        if reply.run and reply.world is not None:
            assert pod.name in reply.world.pods, "a spare runs"
            if pod.attempt != reply.world.attempt:
                pod.attempt, pod.failed = reply.world.attempt, 0
            self.world = reply.world
            return
        if pod.attempt:
            self.end_process(zombie=False)

    def _start(self, world: TrainerWorld | None) -> Process | None:
        """The processes of a world, once all of its pods run theirs."""
        if world is None:
            self.waited = 0
            return None
        members = [pod for pod in self.trainers if pod.name in world.pods]
        if all(pod.alive and pod.attempt == world.attempt for pod in members):
            self.waited = 0
            self.process = Process(world.attempt, list(world.pods))
            self.sizes.append(len(world.pods))
            return self.process
        self.waited += 1
        if self.waited > JOIN_ROUNDS:
            self.waited = 0
            self._fail(members, world.attempt)
        return None

    def _fail(self, members: list[TrainerPod], attempt: int) -> None:
        for pod in members:
            if pod.alive and pod.attempt == attempt:
                pod.failed = attempt
            pod.attempt = 0

    def end_process(self, *, zombie: bool, frozen: int = 0) -> None:
        """The processes end; as zombies they go on where nobody sees them."""
        if zombie and self.process is not None:
            self.process.wakes = self.turn + frozen
            self.zombies.append(self.process)
        for pod in self.trainers:
            pod.attempt = 0
        self.process = None

    def crash(self) -> None:
        """One process dies, and the others in their collectives with it."""
        if self.process is not None:
            process, self.process = self.process, None
            members = [pod for pod in self.trainers if pod.name in process.pods]
            self._fail(members, process.attempt)

    def replace_trainer_pod(self, *, zombie: bool, which: int = 0, frozen: int = 0) -> None:
        """Its node is lost; with `zombie` the processes there still run.

        The operator sees that the pod has gone and raises the attempt, which fences them.
        """
        pod = self.trainers[which]
        pod.life += 1
        pod.failed, pod.leaving, pod.alive = 0, False, True
        if self.process is not None and pod.name in self.process.pods:
            self.attempt += 1
            self.end_process(zombie=zombie, frozen=frozen)

    def lose_trainer_pod(self, which: int) -> None:
        """It goes and doesn't come back, unless it is the last one."""
        pod = self.trainers[which]
        stay = [one for one in self.trainers if one.alive and not one.leaving and one is not pod]
        if not stay or not pod.alive:
            return
        pod.alive = False
        if self.process is not None and pod.name in self.process.pods:
            self.crash()
        pod.failed = pod.attempt = 0

    def return_trainer_pods(self) -> None:
        for pod in self.trainers:
            if not pod.alive:
                pod.alive, pod.leaving, pod.life = True, False, pod.life + 1

    def evict_trainer_pod(self, which: int) -> None:
        """It is deleted with a grace period."""
        if all(one.alive and not one.leaving for one in self.trainers):
            self.trainers[which].leaving = True
