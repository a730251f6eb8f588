"""The dialogues of an SFT stage on all ranks: rank 0 reads and encodes, every rank gets the tokens.

Files (published `sft` JSONL layout) in S3 are copied to the pod's disk first, unpacked: a gigabyte
of rows is then read by position, and a later attempt in the same pod finds the copies.

Which of them a step trains on is a pure function: all ranks and all attempts compute the same, so a
resumed stage repeats what it would have done.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sea_api.v1alpha1.data import OnBadRow, ThinkingHistory
from sea_api.v1alpha1.job import Spec
from sea_data.errors import DataFileError, RowError
from sea_data.formats import data_files, sequences, sft
from sea_data.formats.dialogue import Dialogue
from sea_data.formats.jsonl import RowFile
from sea_data.formats.perspective import agent_side, exchange
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_runtime.trainer import background
from sea_runtime.trainer.context import RankContext
from sea_runtime.trainer.errors import TrainingDataError

log = logging.getLogger(__name__)
_VALIDATION_STREAM = 2**31
"""Keeps the random numbers of the validation split apart from those of the epochs."""


@dataclass(frozen=True)
class Dialogues:
    """What to train on: whole dialogues, branches or single exchanges of some, [S] each."""

    tokens: list[NDArray[np.int32]]
    masks: list[NDArray[np.uint8]]
    """1 on tokens that the trained role wrote."""
    origins: tuple[int, ...]
    """Number of the dialogue that each comes from."""

    def __len__(self) -> int:
        return len(self.tokens)


class _Message(msgspec.Struct):
    """All dialogues, as rank 0 sends them."""

    lengths: list[int]
    tokens: Any
    """int32 of all dialogues; a bytearray while it grows, bytes once it was sent."""
    masks: Any
    """uint8, as `tokens`."""
    origins: list[int]


def pack(dialogues: Iterable[sequences.Encoded]) -> bytes | None:
    """All dialogues as one message, built as they are read; None if there are none."""
    message = _Message([], bytearray(), bytearray(), [])
    numbers: dict[tuple[str, str], int] = {}
    for one in dialogues:
        message.lengths.append(len(one.ids))
        message.tokens += one.ids.tobytes()
        message.masks += one.mask.tobytes()
        message.origins.append(numbers.setdefault(one.dialogue, len(numbers)))
    return msgspec.msgpack.encode(message) if message.lengths else None


def unpack(data: bytes) -> Dialogues:
    """The inverse of `pack`."""
    message = msgspec.msgpack.decode(data, type=_Message)
    ends = np.cumsum(message.lengths)[:-1]
    # Views of the message, read-only: no copy of a gigabyte per rank.
    tokens = np.split(np.frombuffer(message.tokens, "<i4"), ends)
    masks = np.split(np.frombuffer(message.masks, "u1"), ends)
    return Dialogues([*tokens], [*masks], tuple(message.origins))


def encode(
    dialogues: Iterable[Dialogue],
    renderer: Renderer,
    context: int,
    counts: sequences.TokenCounts,
    *,
    side: sequences.Side = agent_side,
    skip_bad: bool = False,
) -> bytes:
    """Renders one side of dialogues; drops what doesn't fit into the context, answer by answer.

    Raises:
        TrainingDataError: nothing is left to train on.
    """
    encoded = sequences.encode(dialogues, renderer, context, counts, side=side, skip_bad=skip_bad)
    packed = pack(encoded)
    if packed is None:
        if counts.unreadable:
            raise TrainingDataError(
                f"No dialogue of the stage's data is left to train on: {len(counts.unreadable)} "
                f"can't be used with this model, the first: {counts.unreadable[0]}."
            )
        raise TrainingDataError(
            "No dialogue of the stage's data has a turn of the trained role within "
            "model.contextLength: check data.sft and the context length."
        )
    return packed


@contextmanager
def planned(
    store: data_files.Store | None, paths: Sequence[str], folder: Path, *, skip_bad: bool
) -> Iterator[sft.Selection]:
    """What to train on in all files, in order; the files are open until the end of the block.

    Raises:
        TrainingDataError: it names file, line, field and reason of what can't be read.
    """
    with ExitStack() as opened:
        try:
            files = [
                opened.enter_context(RowFile.open(data_files.local(path, folder, store), path))
                for path in paths
            ]
            plan = sft.select(files, skip_bad=skip_bad)
            _log_report(plan.counts)
            yield plan  # rows are read within the block: their errors come back here
        except (RowError, DataFileError) as error:
            raise TrainingDataError(str(error)) from error


def _log_report(report: sft.RowCounts) -> None:
    for error in report.bad:
        log.warning("Row skipped: %s", error)
    log.info(
        "%d rows: %d to train on, %d within longer ones, %d of failed dialogues, %d bad.",
        report.rows,
        report.chosen,
        report.prefixes,
        report.failed,
        len(report.bad),
    )


def load(
    context: RankContext, paths: Sequence[str], model: Path, spec: Spec, *, as_user: bool
) -> tuple[Dialogues, dict[str, float]]:
    """The stage's dialogues, encoded with the model's tokenizer, and metrics of what they hold.

    Collective; the metrics are rank 0's alone.
    """
    # `rank_barrier` for the reading, which may take minutes; only the result is broadcast.
    read = (lambda: _read(context, paths, model, spec, as_user)) if context.leads else None
    data, metrics = background.rank_barrier(context, "The reading of the dialogues", read) or (
        None,
        {},
    )
    return unpack(context.control.broadcast_bytes(data)), metrics


def _read(
    context: RankContext, paths: Sequence[str], model: Path, spec: Spec, as_user: bool
) -> tuple[bytes, dict[str, float]]:
    strips = spec.model.thinking_history is ThinkingHistory.STRIP and not as_user
    renderer = Renderer.load(model, call_format(spec.model.tool_format), strips_thoughts=strips)
    counts = sequences.TokenCounts()
    skip_bad = spec.data.on_bad_row is OnBadRow.SKIP
    with planned(context.store, paths, context.pod.data_dir / "rows", skip_bad=skip_bad) as plan:
        side = exchange if as_user else agent_side
        context_length = spec.model.context_length
        data = encode(
            plan.dialogues(), renderer, context_length, counts, side=side, skip_bad=skip_bad
        )
        for error in counts.unreadable:
            log.warning("Dialogue skipped: %s", error)
        metrics = plan.counts.as_metrics() | counts.as_metrics()
    log.info("The stage trains on: %s", metrics)
    return data, metrics


def sft_steps(dialogues: int, batch: int, epochs: int, max_steps: int | None) -> int:
    """Optimizer steps of a stage; at least one."""
    steps = max(1, dialogues * epochs // batch)
    return min(steps, max_steps) if max_steps else steps


@lru_cache(maxsize=1)  # asked before every step, since an edit may change what it depends on
def split_validation(
    origins: tuple[int, ...], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Indices of (training, validation) samples; those of one dialogue are all in one of the two.

    Otherwise the answers that a validation sample repeats as its context would have been trained.

    Args:
        origins: number of the dialogue that each sample comes from, from 0 without gaps.
        fraction: of the dialogues; at least one is trained on.
    """
    dialogues = max(origins) + 1
    # A list of seeds gives each stream its own random numbers: the split's aren't an epoch's.
    order = np.random.default_rng([seed, _VALIDATION_STREAM]).permutation(dialogues)
    held_out = set(order[: min(round(dialogues * fraction), dialogues - 1)].tolist())
    train = [index for index, origin in enumerate(origins) if origin not in held_out]
    return train, [index for index, origin in enumerate(origins) if origin in held_out]


def sft_batch(step: int, indices: Sequence[int], batch: int, seed: int) -> list[int]:
    """Indices that 1-based `step` trains on: epochs end to end, each shuffled by itself."""
    # Position in the endless stream of epochs; a batch may span two of them or more.
    first = (step - 1) * batch
    epochs = range(first // len(indices), (first + batch - 1) // len(indices) + 1)
    orders = [np.random.default_rng([seed, epoch]).permutation(len(indices)) for epoch in epochs]
    start = first - epochs[0] * len(indices)
    return [indices[int(i)] for i in np.concatenate(orders)[start : start + batch]]
