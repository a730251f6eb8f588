"""Random histories of the run of `run_model.py`: what is lost, when, and what must hold at the end.

A history follows from its number. Its choices are uniform: hypothesis prefers small and repeated
ones, which disturb next to nothing here. Played by
`tests/runtime/coordinator/test_run_survives.py`, and with faults put into the product by
`test_seeded_faults.py` there.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from sea_runtime.coordinator.ledger import groups
from sea_testing.coordinator.run_model import Run
from sea_testing.coordinator.run_parts import BATCH, EVERY, STEPS

# What is lost together. The likelier ones are those that leave least to recover from.
TRAINER = ("lives", "lives", "lives", "process", "pod", "zombie", "zombie")
COORDINATOR = ("lives", "killed", "volume", "volume", "volume")
ENGINES = (0, 1, 2, 2, 2)
FROZEN = (0, 4)
"""Rounds for which a zombie does nothing first."""
OPENED, AT_OPENING = "when an attempt has opened", 0.5
LOSSES = 0.6
"""Share of what happens that is a loss."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""On a disk nearly all the time would be fsync, of files that a kill of this test may lose."""
NEVER = 100
"""Versions between two copies in the store: more than the stage has."""
AWAY = (2, 6)
"""Rounds for which the object store is away, at least and at most."""
ROUNDS = 120
"""Enough for the longest recovery and the whole stage: most need 20."""
EVENTS = (4, 9)
"""Of a history, at least and at most."""


def rounds_later(run: Run, rounds: int) -> Callable[[], bool]:
    due = run.turn + rounds
    return lambda: run.turn >= due


def trained(run: Run, _: int) -> Callable[[], bool]:
    """Another step, or the first one of another attempt."""

    def newest() -> tuple[int, int]:
        process = run.process
        trains = process is not None and process.step > process.resumed
        return (process.attempt, process.step) if process is not None and trains else (0, 0)

    before = newest()
    return lambda: newest() > before


def saving(run: Run, _: int) -> Callable[[], bool]:
    """The ledger's snapshot is stored, and the head doesn't name the checkpoint yet."""
    return lambda: run.process is not None and any(one.phase == 1 for one in run.process.saves)


def committed(run: Run, _: int) -> Callable[[], bool]:
    before = run.committed_step
    return lambda: run.committed_step > before


MOMENTS: dict[str, Callable[[Run, int], Callable[[], bool]]] = {
    "at once": lambda run, _: lambda: True,
    "some rounds later": rounds_later,
    OPENED: lambda run, _: lambda: run.just_opened,
    "when a step is trained": trained,
    "in the middle of a checkpoint": saving,
    "when a checkpoint is committed": committed,
}


class History:
    """One run and what happens to it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.chance = Random(number)
        # Half of what happens there: ten kinds of HAPPENS would leave each of them too rare.
        self.happens = [*HAPPENS, *(2 * [*OUTSIDE] if number >= FIRST_OUTSIDE else ())]
        # The processes of one pod outlive a coordinator that has lost its volume; those of two are
        # started again, since the first of them calls before there is a world.
        copies, pods = self.chance.choice([NEVER, NEVER, 2]), self.chance.choice([1, 2])
        self.run = Run(folder, copies, trainer_pods=pods)
        self.events: list[str] = []

    def play(self) -> None:
        """Raises AssertionError, or whatever the product raises."""
        try:
            for _ in range(self.chance.randint(*EVENTS)):
                self.something_happens()
            self.undisturbed_the_stage_ends()
        finally:
            self.run.close()

    def something_happens(self) -> None:
        """At a moment of the recovery from what happened before, or after it."""
        # Half of what follows the end of an attempt comes as soon as the next one has opened.
        opens = not self.run.trains and self.chance.random() < AT_OPENING
        moment = OPENED if opens else self.chance.choice(list(MOMENTS))
        self.run.rounds_until(MOMENTS[moment](self.run, self.chance.randint(1, 3)))
        if self.chance.random() < LOSSES:
            self.parts_are_lost(moment)
            return
        which = self.chance.randrange(2)
        name = self.chance.choice(self.happens)
        self.events.append(f"{moment}: {name} {which}")
        {**HAPPENS, **OUTSIDE}[name](self, which)

    def parts_are_lost(self, moment: str) -> None:
        trainer, coordinator = self.chance.choice(TRAINER), self.chance.choice(COORDINATOR)
        engines, frozen = self.chance.choice(ENGINES), self.chance.choice(FROZEN)
        self.events.append(
            f"{moment}: lost: trainer {trainer}, coordinator {coordinator}, {engines} engines"
        )
        for engine in self.run.engines[:engines]:
            self.run.restart_engine(engine)
        if trainer == "process":
            self.run.crash()
        elif trainer != "lives":
            self.run.replace_trainer_pod(zombie=trainer == "zombie", frozen=frozen)
        if coordinator != "lives":
            self.run.restart_coordinator(volume_lost=coordinator == "volume")

    def lag(self, which: int) -> None:
        engine = self.run.engines[which]
        engine.stuck = not engine.stuck

    def drain_or_resume(self, _: int) -> None:
        self.run.drain = not self.run.drain

    def silence(self, which: int) -> None:
        self.run.clock.now += 8.0 + 12.0 * which
        self.run.core.scheduler.expire()

    def late_results(self, _: int) -> None:
        self.run.deliver_late()

    def doubled_results(self, which: int) -> None:
        self.run.deliver(self.run.engines[which], times=2)

    def damage(self, _: int) -> None:
        """Noticed by the next attempt only."""
        self.run.damage_newest()

    def pod_lost(self, which: int) -> None:
        self.run.lose_trainer_pod(which % len(self.run.trainers))

    def pods_return(self, _: int) -> None:
        self.run.return_trainer_pods()

    def pod_leaves(self, which: int) -> None:
        self.run.evict_trainer_pod(which % len(self.run.trainers))

    def store_away(self, _: int) -> None:
        self.run.away_until = self.run.turn + self.chance.randint(*AWAY)

    def pin(self, which: int) -> None:
        self.run.pin(which)

    def head_lost(self, which: int) -> None:
        """The stage begins from scratch; whole checkpoints stay.

        With the processes, once the ledger has covered a checkpoint: those that live write a head
        again, and a batch that isn't covered is handed out again.
        """
        if which:
            self.run.rounds_until(lambda: self.run.reported_step > 0)
        self.run.lose_head()
        if which:
            self.run.crash()

    def go_back(self, which: int) -> None:
        """To the newest or an older one; also to one that is damaged or left, or isn't there."""
        head = self.run.head
        steps = [one.step for one in (*head.kept, *head.checkpoints)] or [EVERY]
        self.run.ask_to_go_back(steps[-1 - which % len(steps)])

    def go_back_in_an_outage(self, which: int) -> None:
        self.go_back(which)
        self.store_away(which)

    def go_back_behind_a_pinned_one(self, _: int) -> None:
        self.run.rounds_until(lambda: len(self.run.head.checkpoints) > 1)
        self.run.pin(-1)
        if self.run.head.checkpoints:
            self.run.ask_to_go_back(self.run.head.checkpoints[0].step)

    def undisturbed_the_stage_ends(self) -> None:
        run = self.run
        run.drain, run.away_until = False, 0
        # Without a pod that stays away it ends as well.
        left = any(pod.alive and not pod.leaving for pod in run.trainers)
        returns = not left or self.chance.random() < 1 / 2
        for engine in run.engines:
            engine.stuck = False
        for _ in range(ROUNDS):
            if run.complete:
                break
            # Each round: one that is being deleted may go later.
            if returns:
                run.return_trainer_pods()
            run.round()
        assert run.complete, f"the stage never ended: {run}"
        self.nothing_is_lost_or_doubled()

    def nothing_is_lost_or_doubled(self) -> None:
        run, db = self.run, self.run.core.ledger.db
        newest = run.head.newest
        assert newest is not None
        trained = run.saved[newest.manifest_key]
        assert len({group for step in trained for group in step}) == STEPS * BATCH
        # Every prompt up to the cursor was drawn once, whatever went back meanwhile.
        drawn = [row["id"] for row in db.rows("SELECT id FROM groups WHERE stage = 'rl'")]
        assert sorted(drawn) == [f"rl-{place:06d}" for place in range(groups.drawn(db, "rl"))]
        # A stage that ends first leaves a request without an answer.
        record = run.head.rollback
        done = [one.generation for one in run.requests if one.done]
        if done and not run.head_lost:
            assert record is not None
            assert record.generation >= done[-1]
        # Listed or not: what a person keeps stays.
        head, known = run.head, {one.removeprefix("s3://bucket/") for one in run.store.objects}
        assert run.pinned <= known, "a pinned checkpoint is gone"
        assert run.orphaned <= known, "a checkpoint whose head was lost is gone"
        aside = {one.manifest_key for one in (*head.kept, *head.damaged)}
        assert aside <= known, "the head lists a checkpoint that is gone"


HAPPENS: dict[str, Callable[[History, int], None]] = {
    "lag": History.lag,
    "drain or resume": History.drain_or_resume,
    "silence": History.silence,
    "late results": History.late_results,
    "doubled results": History.doubled_results,
    "damage": History.damage,
    "pod lost": History.pod_lost,
    "pods return": History.pods_return,
    "pod leaves": History.pod_leaves,
    "go back": History.go_back,
}
OUTSIDE: dict[str, Callable[[History, int], None]] = {
    "store away": History.store_away,
    "go back in an outage": History.go_back_in_an_outage,
    "go back behind a pinned one": History.go_back_behind_a_pinned_one,
    "pin": History.pin,
    "head lost": History.head_lost,
}
"""What the object store does, and a person."""
FIRST_OUTSIDE = 60
"""Number of the first history in which they do it."""
HISTORIES = range(110)


def play(numbers: Iterable[int] = HISTORIES) -> int:
    """How many histories were played; an error names the one that it is of, and what happened."""
    played = 0
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="run-", dir=MEMORY) as folder:
            history = History(Path(folder) / "volume", number)
            try:
                history.play()
            except Exception as error:
                error.add_note(f"History {number}: {'; '.join(history.events)}")
                raise
        played += 1
    return played
