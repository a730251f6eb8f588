"""The asynchronous pipeline, event by event: generation, staleness gate, training, weight updates.

What a roofline (`speed.py`) can't say: how long batches wait for their longest trajectories, how
old they are when they are trained on, and what failures cost. The gate is the coordinator's
(`coordinator/staleness_gate.py`: `capacity`), a group as one unit. Pure; randomness is given.

An engine's clock (`simulated_engine.py`) says when its next turn ends, so an event costs O(log n).
Between turns a sequence waits outside, for its user and tools.

Method: discrete events on a heap, as in simpy, whose coroutines cost about ten times as much here.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from math import floor
from random import Random
from typing import Any

from sea_runtime.planner.simulated_engine import Engine, Episode, Group
from sea_runtime.planner.simulated_pipeline import Pipeline, Result, Step


class Simulation:
    """One run of a pipeline."""

    def __init__(self, pipeline: Pipeline, seed: int = 0) -> None:
        self.pipeline, self.random = pipeline, Random(seed)  # noqa: S311 - no secret
        self.engines = [Engine(pipeline.token_seconds) for _ in range(pipeline.engines)]
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._ids = count()
        self._waiting: deque[Group] = deque()
        """Groups with an episode that no engine holds, once per episode."""
        self._admitted: deque[Group] = deque()
        self._running = 0
        """Groups."""
        self._outcomes: deque[bool] = deque(maxlen=64)
        """Whether the newest groups were kept."""
        self._accepted = 0
        self._version = 0
        self._training = False
        self._wait_from = 0.0
        self._trained_s = 0.0
        self._lost = 0
        self._steps: list[Step] = []

    def run(self, steps: int, stage: int | None = None) -> Result:
        """Simulates the first `steps` steps of a stage that has `stage`, by default as many."""
        self._all = stage or steps
        for number, engine in enumerate(self.engines):
            self._fail_later(number)
            self._fill(number)
            self._schedule(number, engine)
        while len(self._steps) < steps:
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        for engine in self.engines:
            engine.advance(self.now)
        total = self.now * len(self.engines)
        return Result(
            steps=tuple(self._steps),
            engine_busy=sum(engine.busy_s for engine in self.engines) / total,
            slots_busy=sum(engine.slot_s for engine in self.engines)
            / (total * self.pipeline.slots),
            trainer_busy=self._trained_s / self.now,
            lost_tokens=self._lost,
        )

    def _after(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        # The counter decides between events of one moment: functions have no order.
        event = (self.now + seconds, next(self._order), action, arguments)
        heapq.heappush(self._events, event)

    # The gate, and leases.

    def _capacity(self, served: int) -> int:
        """The formula of `capacity` in `coordinator/staleness_gate.py`."""
        one = self.pipeline
        version = min(self._version, served)
        batches = min(one.max_staleness + version + 1, self._all)
        running = self._running * (self._kept_share() if one.max_staleness else 1.0)
        admitted = floor(batches * one.batch_groups - self._accepted - running)
        return max(0, min(one.max_groups - self._running, admitted))

    def _kept_share(self) -> float:
        """The formula of `kept_share` in `coordinator/ledger/groups.py`."""
        if len(self._outcomes) < 16:
            return 1.0
        return max(0.25, sum(self._outcomes) / len(self._outcomes))

    def _fill(self, number: int) -> None:
        """Gives an engine episodes as long as it has room and the gate is open."""
        engine = self.engines[number]
        while len(engine.episodes) < self.pipeline.slots:
            if not self._waiting:
                if self._capacity(engine.version) < 1:
                    return
                group = Group(self.pipeline.group_size)
                self._running += 1
                self._waiting.extend([group] * self.pipeline.group_size)
            episode = Episode(self._waiting.popleft(), self.pipeline.draw(self.random))
            name = next(self._ids)
            engine.episodes.add(name)
            self._after(
                episode.turns[0].outside_s, self._begin_turn, number, engine.life, name, episode
            )

    def _fill_all(self) -> None:
        # The emptiest first: workers ask as soon as they have room.
        order = sorted(range(len(self.engines)), key=lambda i: len(self.engines[i].episodes))
        for number in order:
            if not self._waiting and self._capacity(self.engines[number].version) < 1:
                continue
            self._fill(number)

    # Turns.

    def _begin_turn(self, number: int, life: int, name: int, episode: Episode) -> None:
        engine = self.engines[number]
        # The engine has failed since: the episode was leased again elsewhere.
        if engine.life != life:
            return
        engine.advance(self.now)
        tokens = episode.turns[episode.turn].generated
        heapq.heappush(engine.running, (engine.clock + tokens, name, episode))
        self._schedule(number, engine)

    def _schedule(self, number: int, engine: Engine) -> None:
        # The end of the next turn moves with every sequence that comes or goes. An event can't be
        # taken from a heap, so the older ones are left there and ignored.
        engine.stamp += 1
        end = engine.next_end()
        if end is not None:
            self._after(max(0.0, end - self.now), self._end_turn, number, engine.stamp)

    def _end_turn(self, number: int, stamp: int) -> None:
        engine = self.engines[number]
        if engine.stamp != stamp:
            return
        engine.advance(self.now)
        # The one that the event was for, whatever rounding says, and all that end with it.
        horizon = max(engine.clock, engine.running[0][0]) + 1e-9
        while engine.running and engine.running[0][0] <= horizon:
            _, name, episode = heapq.heappop(engine.running)
            turn = episode.turns[episode.turn]
            episode.tokens += turn.generated
            episode.weighted += turn.generated * engine.version
            episode.turn += 1
            if episode.turn < len(episode.turns):
                outside = episode.turns[episode.turn].outside_s
                self._after(outside, self._begin_turn, number, engine.life, name, episode)
            else:
                engine.episodes.discard(name)
                self._finish(episode)
        self._fill(number)
        self._schedule(number, engine)

    def _finish(self, episode: Episode) -> None:
        group = episode.group
        group.left -= 1
        group.tokens += episode.tokens
        group.weighted += episode.weighted
        if group.left:
            return
        self._running -= 1
        self._outcomes.append(self.random.random() < self.pipeline.kept_share)
        if self._outcomes[-1]:
            self._accepted += 1
            self._admitted.append(group)
            self._train()
        self._fill_all()

    # Training, publishing, updates.

    def _train(self) -> None:
        if self._training or len(self._admitted) < self.pipeline.batch_groups:
            return
        self._training = True
        batch = [self._admitted.popleft() for _ in range(self.pipeline.batch_groups)]
        seconds = self.pipeline.train_s(self.random) + self._failed_seconds()
        if self.pipeline.shared:
            self._stop_engines(seconds + self.pipeline.publish_s)
        self._after(seconds, self._trained, batch, seconds)

    def _failed_seconds(self) -> float:
        """What a failure of the trainer in this step costs: a restart, and steps done again."""
        failures = self.pipeline.failures
        if not failures.trainer_every_s:
            return 0.0
        seconds = self.pipeline.train_s(self.random)
        if self.random.random() > seconds / failures.trainer_every_s:
            return 0.0
        # Steps since the last checkpoint, and on average half of the one under way.
        again = len(self._steps) % self.pipeline.checkpoint_every
        return failures.trainer_restart_s + (again + 0.5) * seconds

    def _trained(self, batch: list[Group], seconds: float) -> None:
        self._trained_s += seconds
        tokens = sum(group.tokens for group in batch)
        # Mean over tokens, as the trainer's `staleness` (`trainer/rl_batch.py`).
        lag = self._version - sum(group.weighted for group in batch) / max(1, tokens)
        waited = self.now - seconds - self._wait_from
        self._steps.append(Step(self.now, waited, seconds, lag, tokens))
        self._after(self.pipeline.publish_s, self._published)

    def _published(self) -> None:
        self._version += 1
        for number in range(len(self.engines)):
            self._after(self.pipeline.transfer_s, self._adopt, number, self._version)
        saves = len(self._steps) % self.pipeline.checkpoint_every == 0
        self._after(self.pipeline.checkpoint_s * saves, self._ready)

    def _ready(self) -> None:
        self._training = False
        self._wait_from = self.now
        self._train()
        self._fill_all()

    def _adopt(self, number: int, version: int) -> None:
        engine = self.engines[number]
        if version <= engine.version:
            return
        engine.advance(self.now)
        engine.stopped_until = max(engine.stopped_until, self.now) + self.pipeline.pause_s
        engine.adopt(version)
        self._fill(number)
        self._schedule(number, engine)

    def _stop_engines(self, seconds: float) -> None:
        for number, engine in enumerate(self.engines):
            engine.advance(self.now)
            engine.stopped_until = max(engine.stopped_until, self.now + seconds)
            self._schedule(number, engine)

    # Failures of engines.

    def _fail_later(self, number: int) -> None:
        every = self.pipeline.failures.engine_every_s
        if every:
            self._after(self.random.expovariate(1.0 / every), self._fail, number)

    def _fail(self, number: int) -> None:
        """The engine's episodes are leased again, from their beginning."""
        engine = self.engines[number]
        engine.advance(self.now)
        held = [(name, episode) for _, name, episode in engine.running]
        self._lost += sum(episode.tokens for _, episode in held)
        engine.life += 1
        self._waiting.extendleft(self._held_groups(engine, held))
        engine.running.clear()
        engine.episodes.clear()
        engine.stopped_until = self.now + self.pipeline.failures.engine_restart_s
        engine.version = self._version
        self._schedule(number, engine)
        self._after(self.pipeline.failures.engine_restart_s, self._restarted, number)
        self._fail_later(number)

    def _held_groups(self, engine: Engine, held: list[tuple[int, Episode]]) -> list[Group]:
        """Groups of all its episodes; pending events name those that wait outside."""
        running = {name for name, _ in held}
        outside = [
            arguments[3]
            for _, _, action, arguments in self._events
            if action == self._begin_turn and arguments[2] in engine.episodes - running
        ]
        return [episode.group for _, episode in held] + [episode.group for episode in outside]

    def _restarted(self, number: int) -> None:
        self._fill(number)
        self._schedule(number, self.engines[number])


def simulate(pipeline: Pipeline, steps: int, seed: int = 0, stage: int | None = None) -> Result:
    """One run of the pipeline; the same seed gives the same result.

    Args:
        steps: to simulate.
        stage: steps of the whole stage, for which no more groups start than they need.
    """
    return Simulation(pipeline, seed).run(steps, stage)
