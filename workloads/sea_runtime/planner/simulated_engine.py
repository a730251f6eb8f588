"""One engine of `simulation.py`, and the groups and episodes that it generates. Pure.

An engine shares itself among its sequences: each advances one token per `token_seconds(n)` for n
sequences, so a virtual clock of tokens per sequence says when the next turn ends.
"""

from dataclasses import dataclass

from sea_runtime.planner.simulated_pipeline import TokenSeconds, Turn


@dataclass
class Group:
    left: int
    """Episodes that haven't finished."""
    tokens: int = 0
    weighted: int = 0
    """Sum over its tokens of the version that made them."""


@dataclass
class Episode:
    group: Group
    turns: tuple[Turn, ...]
    turn: int = 0
    tokens: int = 0
    weighted: int = 0


class Engine:
    """One engine's sequences, on a virtual clock that counts tokens per sequence."""

    def __init__(self, token_seconds: TokenSeconds) -> None:
        self.token_seconds = token_seconds
        self.running: list[tuple[float, int, Episode]] = []
        """Heap by the virtual time at which the turn ends."""
        self.episodes: set[int] = set()
        """Ids of all episodes that it holds, those that wait outside included."""
        self.clock = 0.0
        self.at = 0.0
        self.stopped_until = 0.0
        self.version = 0
        self.stamp = 0
        """Stamp of its newest event: older events are ignored."""
        self.life = 0
        self.busy_s = self.slot_s = 0.0

    def advance(self, now: float) -> None:
        """Moves the virtual clock to `now`."""
        if now <= self.at:
            return
        # Nothing is generated while it is stopped; its places are taken all the same.
        start = max(self.at, min(self.stopped_until, now))
        if self.running:
            self.clock += (now - start) / self.token_seconds(len(self.running))
            self.busy_s += now - start
        self.slot_s += (now - self.at) * len(self.episodes)
        self.at = now

    def next_end(self) -> float | None:
        """When the first of its turns ends; None if none runs."""
        if not self.running:
            return None
        tokens = max(0.0, self.running[0][0] - self.clock)
        start = max(self.at, self.stopped_until)
        return start + tokens * self.token_seconds(len(self.running))

    def adopt(self, version: int) -> None:
        """Serves `version` from here on; running turns keep what older ones made of them."""
        for end, _, episode in self.running:
            turn = episode.turns[episode.turn]
            made = turn.generated - max(0.0, end - self.clock)
            # The turn's end books all of it to the newer version: take the difference off here.
            episode.weighted -= int(made) * (version - self.version)
        self.version = version
