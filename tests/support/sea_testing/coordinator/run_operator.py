"""The operator of the run of `run_model.py`, and a person who asks it for something."""

from sea_api.wire.coordinator_spec import RollbackOrder
from sea_api.wire.state import CoordinatorState
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.wire.checkpoints import Entry
from sea_testing.coordinator.run_parts import head_url
from sea_testing.coordinator.run_state import RunState


class RunWithOperator(RunState):
    """It raises attempts, chooses the trainer's size and goes back to older checkpoints."""

    def operate(self) -> None:
        state = self.core.state.assemble()
        failure = state.trainer_failure
        if failure is not None and failure.attempt == self.attempt:
            self.attempt += 1
        if not self.drain:
            self._resize(state)
        self._follow_order(state)
        if state.spec_digest != self.wanted.digest:
            self.core.job.request(self.wanted)

    def _resize(self, state: CoordinatorState) -> None:
        """Smaller at once, by another attempt; larger once the running one has made room."""
        alive = sum(pod.alive for pod in self.trainers)
        if 0 < alive < self.size:
            self.size = alive
            self.attempt += 1
        elif alive > self.size:
            self.size = alive
        elif state.resized_attempt == self.attempt:
            self.attempt += 1

    def ask_to_go_back(self, step: int) -> None:
        self.asked_named = self._names(step)
        generation = len(self.requests) + 1
        self.order = RollbackOrder(stage="rl", step=step, generation=generation)

    def _follow_order(self, state: CoordinatorState) -> None:
        order, check = self.order, state.rollback_check
        if order is None or check is None or check.generation != order.generation:
            return
        if check.done or check.problem:
            runs = order.stage == "rl" and not self.complete
            named = runs and self.asked_named and self._names(order.step)
            known = self.store.objects.keys()
            sound = named and all(
                self._objects(one) <= known and one.manifest_key not in self.damaged
                for one in self.head.checkpoints
            )
            assert check.done or not sound, check.problem
            self.requests.append(check)
            self.order = None
        elif order.attempt is None and not self.drain:
            self.attempt += 1
            self.order = order.model_copy(update={"attempt": self.attempt})

    def _names(self, step: int) -> bool:
        return any(one.step == step for one in self.head.checkpoints)

    def _objects(self, entry: Entry) -> set[str]:
        url = f"s3://bucket/{entry.manifest_key}"
        return {url, url.replace("manifest.json", "ledger.sqlite")}

    def pin(self, which: int) -> None:
        """A person keeps a checkpoint."""
        if self.head.checkpoints and not self.store.away:
            entry = self.head.checkpoints[which % len(self.head.checkpoints)]
            self._write_head(heads.pinned(self.head, entry, True))
            self.pinned.add(entry.manifest_key)

    def lose_head(self) -> None:
        """Somebody deletes it, or the store loses it."""
        self.orphaned |= {one.manifest_key for one in self.head.checkpoints}
        if self.store.objects.pop(head_url(self.run_url), None) is not None:
            self.head_lost = True

    def damage_newest(self) -> bool:
        """Damages the newest checkpoint if there is another; false if there isn't."""
        sound = [c for c in self.head.checkpoints if c.manifest_key not in self.damaged]
        if len(sound) > 1:
            self.damaged.add(sound[-1].manifest_key)
        return len(sound) > 1
