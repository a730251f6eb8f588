"""A whole run in one process: a real coordinator, and models of everything around it.

Two trainer pods form the world of an attempt, or one does while the other is missing or a spare;
its rank 0 opens, trains, publishes and commits in the phases of the real one (with its own pure
decisions about `head.json`). Engines fetch only what somebody still serves. The operator raises
attempts, drains, chooses the trainer's size and goes back to older checkpoints. `round` moves each
of them on by one step; what a test breaks between two rounds is up to it. Used by
`tests/runtime/coordinator/test_run_survives.py`.
"""

from collections.abc import Callable
from contextlib import suppress

from sea_runtime.coordinator.ledger import batches, groups
from sea_runtime.wire.rollouts import LeaseRequest
from sea_runtime.wire.weights import WeightVersion
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.run_parts import BATCH, ENDED, Engine
from sea_testing.coordinator.run_trainer import RunWithTrainer


class Run(RunWithTrainer):
    """One run and the state of all its parts."""

    def update(self, engine: Engine) -> None:
        """Fetches the newest version that can be had, and calls."""
        reply = self.core.weights.query("policy", engine.adopted)
        if reply is not None and not engine.stuck:
            offers = [one for one in (reply.newest, reply.anchor) if one is not None]
            for offer in offers:
                self._require_fetchable(offer)
            found = next((one for one in offers if self._fetchable(one)), None)
            if found is not None:
                engine.adopted, engine.attempt = found.version, found.attempt
        told = self.core.heartbeats.heard(
            kit.beat(
                engine.pod,
                "rollout",
                engine.incarnation,
                adopted=engine.adopted,
                adopted_attempt=engine.attempt,
            )
        )
        if told.restart:
            self.restart_engine(engine)

    def _fetchable(self, version: WeightVersion) -> bool:
        """From the object store, or from the memory of the process that lives."""
        if all(shard.object_url for shard in version.shards):
            return True
        return self.process is not None and version in self.process.published

    def _require_fetchable(self, offer: WeightVersion) -> None:
        """In the object store, or with the attempt that lives as far as the coordinator knows."""
        if not all(shard.object_url for shard in offer.shards):
            assert offer.attempt == self.core.job.attempt, "a version that went with its trainer"
            return
        assert offer.version not in self.left, f"version {offer.version} of the line that was left"

    def lease(self, engine: Engine) -> None:
        holding = [lease.lease_id for lease in engine.leases]
        request = LeaseRequest(
            pod=engine.pod, incarnation=engine.incarnation, want=4, holding=holding
        )
        found = self.core.scheduler.lease(request)
        engine.leases += found.leases if found else []
        assert not (found and engine.left_behind), "episodes for weights that were left behind"
        if found:
            self._require_line(engine)
        self._require_gate()

    def _require_line(self, engine: Engine) -> None:
        """An engine's weights were trained on the batches that the ledger knows."""
        trained = self.lineages.get((engine.adopted, engine.attempt), ())
        rows = self.core.ledger.db.rows(
            "SELECT step, id FROM groups WHERE stage = 'rl' AND step <= ?", engine.adopted
        )
        known = [{row["id"] for row in rows if row["step"] == n + 1} for n in range(engine.adopted)]
        assert [set(one) for one in trained] == known, f"{engine} serves {trained}, not {known}"

    def _require_gate(self) -> None:
        """No more groups than the batches up to the newest version may still need."""
        db = self.core.ledger.db
        fixed = batches.newest_step(db, "rl")
        counted = groups.running(db, "rl") * groups.kept_share(db, "rl")
        ahead = fixed * BATCH + groups.admitted(db, "rl") + counted
        staleness = kit.some(self.spec.stages[0].rl).max_staleness
        assert ahead <= (staleness + fixed + 1) * BATCH, "the gate is too far open"

    def deliver(self, engine: Engine, times: int = 1) -> None:
        """Results of all its episodes; a result may arrive twice."""
        for lease in engine.leases:
            reward = float((lease.sample + self.turn) % 2)
            version = float(engine.adopted)
            sent = kit.result(lease, engine.pod, engine.incarnation, reward, version)
            for _ in range(times):
                self.core.scheduler.result(sent)
        engine.leases = []

    def restart_engine(self, engine: Engine) -> None:
        self.late += [(lease, engine, engine.incarnation) for lease in engine.leases]
        engine.leases, engine.left_behind = [], False
        engine.adopted = engine.attempt = 0
        engine.life += 1

    def deliver_late(self) -> None:
        """Results of workers that are gone: acknowledged or refused, never counted twice."""
        for lease, engine, incarnation in self.late:
            self.core.scheduler.result(kit.result(lease, engine.pod, incarnation, 1.0))
        self.late = []

    def round(self) -> None:
        """Everybody does one thing; a second passes."""
        self.turn += 1
        self.clock.now += 1.0
        self.orphaned -= {one.manifest_key for one in self.head.checkpoints}
        self.store.away = self.turn < self.away_until
        self.operate()
        with suppress(*ENDED):  # `act` has noted it
            self.trainer_pass()
        self.zombies_pass()
        first, second = self.engines
        self.update(first)
        self.deliver(first)
        self.lease(first)
        # Its worker asks for episodes before it hears of anything.
        self.deliver(second)
        self.lease(second)
        self.update(second)
        self.controller_pass()
        self.rollback_pass()

    def rounds_until(self, condition: Callable[[], bool], most: int = 12) -> None:
        """Rounds until something is so; gives up after `most`, since a drained run stands still."""
        for _ in range(most):
            if condition():
                return
            self.round()
