"""Where the elements that a rank needs are stored by the ranks that saved them. Pure.

Both sides hold runs of flattened parameters (`index.py`). A run of a matrix is up to three
rectangles: the rest of its first row, whole rows, the beginning of its last row. `weight_map` says
which rectangle of which Hugging Face tensor each of them is, whatever the layout: the two sides
meet there. All positions count elements.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sea_runtime.parallel import weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.parallel.regions import Region
from sea_runtime.parallel.weight_map import Block
from sea_runtime.trainer.checkpoint.index import ParameterRun
from sea_runtime.trainer.errors import CheckpointError


@dataclass(frozen=True)
class Held:
    """A rectangle of a Hugging Face tensor in flat memory; a vector is one column."""

    region: Region
    """In the tensor, 2-dimensional."""
    offset: int
    """Offset of its first element."""
    stride: int
    """Distance between its rows."""

    def part(self, region: Region) -> "Held":
        """The same for a region within this one."""
        row, column = (a - b for a, b in zip(region.start, self.region.start, strict=True))
        return Held(region, self.offset + row * self.stride + column, self.stride)


@dataclass(frozen=True)
class Wanted:
    """A rectangle that has a place in a reader's memory."""

    name: str
    """What the reader calls the memory."""
    tensor: str
    held: Held


@dataclass(frozen=True)
class Copy:
    """`rows` x `columns` elements from a rank's section to the reader's memory `target`."""

    rank: int
    source: int
    source_stride: int
    target: str
    target_offset: int
    target_stride: int
    rows: int
    columns: int

    @property
    def source_stop(self) -> int:
        """The first element after those that are read, gaps between rows included."""
        return self.source + (self.rows - 1) * self.source_stride + self.columns

    def some_rows(self, first: int, count: int) -> "Copy":
        return Copy(
            self.rank,
            self.source + first * self.source_stride,
            self.source_stride,
            self.target,
            self.target_offset + first * self.target_stride,
            self.target_stride,
            count,
            self.columns,
        )


def rectangles(start: int, stop: int, columns: int) -> Iterator[Region]:
    """The run `start` to `stop` of a flattened matrix of `columns` columns as rectangles."""
    while start < stop:
        row, column = divmod(start, columns)
        if column or stop - start < columns:
            # A part of one row: the rest of the first one, or the beginning of the last one.
            width = min(columns - column, stop - start)
            yield Region((row, column), (1, width))
        else:
            # As many whole rows as are left.
            width = (stop - start) // columns * columns
            yield Region((row, 0), (width // columns, columns))
        start += width


def _two_dimensional(index: tuple[slice, ...]) -> Region:
    spans = [*index, slice(0, 1)][:2]
    return Region(tuple(one.start for one in spans), tuple(one.stop - one.start for one in spans))


def held_by_run(
    run: ParameterRun, blocks: Sequence[Block], columns: int, offset: int
) -> Iterator[tuple[str, Held]]:
    """Rectangles of Hugging Face tensors, by name, that a run holds; padding is left out.

    Args:
        blocks: those of the run's parameter.
        columns: of the parameter; 1 for a vector.
        offset: of the run's first element in the memory.
    """
    for rectangle in rectangles(run.start, run.stop, columns):
        for block in blocks:
            target = _two_dimensional(block.target)
            common = rectangle.intersection(target)
            if common is None:
                continue
            source = _two_dimensional(block.source)
            # Target and source of a block have the same shape: a position moves by the difference
            # of their starts.
            start = tuple(
                at - here + there
                for at, here, there in zip(common.start, target.start, source.start, strict=True)
            )
            # Rows in the section are as far apart as those of the whole parameter, not those of the
            # tensor.
            flat = common.start[0] * columns + common.start[1]
            yield (
                block.tensor,
                Held(Region(start, common.shape), offset + flat - run.start, columns),
            )


def held_by_rank(
    shape: ModelShape, place: Place, runs: Sequence[ParameterRun]
) -> Iterator[tuple[ParameterRun, str, Held]]:
    """What the runs of a rank hold, in its object's section: run, tensor, rectangle."""
    blocks = weight_map.blocks_by_parameter(shape, place)
    shapes = weight_map.parameter_shapes(shape, place)
    offset = 0
    for run in runs:
        size = shapes.get(run.parameter)
        if size is None:
            raise CheckpointError(
                f"The checkpoint has the parameter {run.parameter} on rank {place.rank}, which its "
                "layout doesn't put there: it was saved by another release or for another model."
            )
        columns = size[1] if len(size) > 1 else 1
        for tensor, held in held_by_run(run, blocks.get(run.parameter, []), columns, offset):
            yield run, tensor, held
        offset += run.elements


def without(region: Region, hole: Region) -> list[Region]:
    """The region less what it shares with `hole`, as rectangles above, below, left and right."""
    common = region.intersection(hole)
    if common is None:
        return [region]
    (top, left), (rows, columns) = region.start, region.shape
    (row, column), (height, width) = common.start, common.shape
    found = [
        Region((top, left), (row - top, columns)),
        Region((row + height, left), (top + rows - row - height, columns)),
        Region((row, left), (height, column - left)),
        Region((row, column + width), (height, left + columns - column - width)),
    ]
    return [one for one in found if one.elements]


Saved = Mapping[str, Sequence[tuple[int, Held]]]
"""By tensor: rank and rectangle of all that was saved."""


def saved_by(
    shape: ModelShape, places: Sequence[Place], runs: Mapping[int, Sequence[ParameterRun]]
) -> Saved:
    """All that a checkpoint holds.

    Args:
        places: of the ranks that saved it.
        runs: by rank; those that were not asked for are left out.
    """
    found: dict[str, list[tuple[int, Held]]] = {}
    for rank, own in runs.items():
        for _, tensor, held in held_by_rank(shape, places[rank], own):
            found.setdefault(tensor, []).append((rank, held))
    return found


def plan(wanted: Sequence[Wanted], saved: Saved, prefer: int = -1) -> list[Copy]:
    """What to read to fill all that is wanted, each element once.

    Args:
        prefer: rank whose copy of replicated parameters is taken; in an unchanged layout a rank
            gets exactly what it saved.

    Raises:
        CheckpointError: the checkpoint lacks a part of what is wanted.
    """
    found: list[Copy] = []
    for one in wanted:
        missing = [one.held.region]
        # A stable sort: the preferred rank first, then the others in the order of ranks.
        candidates = sorted(saved.get(one.tensor, ()), key=lambda held: held[0] != prefer)
        for rank, held in candidates:
            if not missing:
                break
            for region in missing:
                common = region.intersection(held.region)
                if common is not None:
                    found.append(_copy(rank, held.part(common), one.name, one.held.part(common)))
            # Less what this rank has: its replicas have nothing to add, so no element is read
            # twice.
            missing = [rest for region in missing for rest in without(region, held.region)]
        if missing:
            raise CheckpointError(
                f"The checkpoint lacks rows {missing[0].start[0]} and following of {one.tensor}: "
                "it was saved for another model, or a rank's part is missing."
            )
    return found


def _copy(rank: int, source: Held, name: str, target: Held) -> Copy:
    return Copy(
        rank,
        source.offset,
        source.stride,
        name,
        target.offset,
        target.stride,
        *source.region.shape,
    )
