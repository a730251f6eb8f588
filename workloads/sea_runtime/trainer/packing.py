"""Packs a batch of sequences into rows, one per data-parallel replica, microbatch by microbatch.

A microbatch is one row of tokens per replica: sequences end to end, none cut. Pipeline and expert
parallelism need every rank in every collective, so all replicas have the same number of
microbatches. `packed_row.py` says where the tokens of a row are, `shared_prefixes.py` which tokens
of a sequence a row has. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sea_data.formats import sequences
from sea_runtime.parallel import row_balance
from sea_runtime.parallel.row_balance import SequenceWork
from sea_runtime.trainer import shared_prefixes
from sea_runtime.trainer.shared_prefixes import Bundle, PerToken, Rows

BUNDLES_PER_ROW = 4
"""With several replicas, the least number of bundles that fill a row of mean length: fewer, larger
ones couldn't be balanced."""


@dataclass(frozen=True)
class Grid:
    """What a layout asks of rows."""

    rows: int
    """Rows of a microbatch: data-parallel replicas."""
    sequence_multiple: int = 1
    """Each sequence is padded to a multiple of it."""
    row_multiple: int = 1
    """Each row is padded to a multiple of it."""
    equal_rows: bool = False
    """All rows of all microbatches get one length."""

    def sequence(self, tokens: int) -> int:
        return _up(tokens, self.sequence_multiple)

    def row(self, tokens: int) -> int:
        """At least one unit: a rank without sequences computes on padding."""
        return max(self.row_multiple, _up(tokens, self.row_multiple))


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@dataclass(frozen=True)
class Microbatch:
    """One row per data-parallel replica."""

    bundles: tuple[tuple[Bundle, ...], ...]
    """`bundles[r]`: those of replica r's row, in their order."""
    lengths: tuple[int, ...]
    """Tokens of each row, padding included."""

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the sequences of each row."""
        return tuple(tuple(shared_prefixes.indices(row)) for row in self.bundles)


def plan(lengths: Sequence[int], grid: Grid, capacity: int, work: SequenceWork) -> list[Microbatch]:
    """The microbatches that train whole sequences of the given lengths, longest rows first."""
    return _plan(shared_prefixes.whole(lengths), grid, capacity, work)


def plan_chosen(
    tokens: Rows,
    chosen: Sequence[int],
    wanted: PerToken,
    grid: Grid,
    capacity: int,
    work: SequenceWork,
) -> list[Microbatch]:
    """As `plan`, for some sequences of a batch, and only those of their tokens that the wanted
    log-probabilities need.

    An index that is chosen twice (a batch larger than the data) is trained twice.

    Args:
        wanted: non-zero on the tokens whose log-probability is read, [S] per sequence.
    """
    most = capacity
    if grid.rows > 1:
        total = sum(len(tokens[i]) for i in chosen)
        most = min(capacity, total // (BUNDLES_PER_ROW * grid.rows))
    # Under context parallelism a rank has only parts of the sequence that another one shares.
    share = grid.sequence_multiple == 1
    found = shared_prefixes.bundles(tokens, chosen, wanted, most, share=share)
    return _plan(found, grid, capacity, work)


def _plan(
    bundles: Sequence[Bundle], grid: Grid, capacity: int, work: SequenceWork
) -> list[Microbatch]:
    """Rows are bounded by tokens, which memory follows, and balanced by work, which time follows.

    Args:
        capacity: most tokens of a row; a longer sequence has a row of its own.

    Returns:
        The same on every rank.
    """
    lengths = [_tokens([bundle], grid) for bundle in bundles]
    if grid.equal_rows:  # what is balanced then is padding
        works = [float(length) for length in lengths]
    else:
        works = [sum(work(grid.sequence(p.end), p.begin) for p in bundle) for bundle in bundles]
    count = -(-len(sequences.pack(lengths, capacity)) // grid.rows)
    rows = row_balance.balance(lengths, works, count * grid.rows, capacity)
    while rows is None:  # best-fit rows have room that balanced ones don't
        count += 1
        rows = row_balance.balance(lengths, works, count * grid.rows, capacity)
    packed = [[bundles[i] for i in row] for row in rows]
    longest = max((_tokens(row, grid) for row in packed), default=0)
    # Rows come by their work: those of one microbatch are alike, so that no rank waits for long.
    found = [
        _microbatch(packed[i : i + grid.rows], grid, longest)
        for i in range(0, len(packed), grid.rows)
    ]
    # The longest row first, so that a lack of memory shows at once.
    return sorted(found, key=lambda one: -max(one.lengths))


def _microbatch(rows: Sequence[Sequence[Bundle]], grid: Grid, longest: int) -> Microbatch:
    tokens = [longest if grid.equal_rows else _tokens(row, grid) for row in rows]
    return Microbatch(tuple(map(tuple, rows)), tuple(map(grid.row, tokens)))


def _tokens(row: Sequence[Bundle], grid: Grid) -> int:
    return sum(grid.sequence(part.tokens) for bundle in row for part in bundle)


def row_fractions(microbatches: Sequence[Microbatch], tokens: int) -> dict[str, float]:
    """Metrics of a step's rows.

    Args:
        tokens: of all sequences, whole.

    Returns:
        `padding_fraction` of what is computed, and `skipped_fraction`: the part of the tokens that
        no row computes, since another sequence shares them or no loss needs them.
    """
    rows = [row for one in microbatches for row in one.bundles]
    real = sum(part.tokens for row in rows for bundle in row for part in bundle)
    computed = sum(sum(one.lengths) for one in microbatches)
    return {
        "padding_fraction": 1.0 - real / computed if computed else 0.0,
        "skipped_fraction": 1.0 - real / tokens if tokens else 0.0,
    }
