"""SFT data on all ranks: rank 0 reads and encodes the dialogues, everyone gets the tokens."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sea_api.v1alpha1.data import OnBadRow
from sea_api.v1alpha1.job import Spec
from sea_data.formats import sequences
from sea_data.formats.dialogue import Dialogue
from sea_data.formats.perspective import agent_side, exchange
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import call_format
from sea_runtime.trainer.dialogue_files import planned
from sea_runtime.trainer.errors import DataError
from sea_runtime.trainer.job import Job
from sea_runtime.trainer.together import together

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dialogues:
    """Encoded dialogues; `masks` are 1 on what the trained role wrote."""

    tokens: list[NDArray[np.int32]]
    masks: list[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.tokens)


class _Packed(msgspec.Struct):
    lengths: list[int]
    tokens: Any
    """int32 of all dialogues; a bytearray while it grows, bytes once it was sent."""
    masks: Any
    """uint8, as `tokens`."""


def pack(dialogues: Iterable[sequences.Encoded]) -> bytes | None:
    """All dialogues as one message, built as they come; None where there are none."""
    packed = _Packed([], bytearray(), bytearray())
    for one in dialogues:
        packed.lengths.append(len(one.ids))
        packed.tokens += one.ids.tobytes()
        packed.masks += one.mask.tobytes()
    return msgspec.msgpack.encode(packed) if packed.lengths else None


def unpack(data: bytes) -> Dialogues:
    packed = msgspec.msgpack.decode(data, type=_Packed)
    cuts = np.cumsum(packed.lengths)[:-1]
    tokens = np.split(np.frombuffer(packed.tokens, "<i4"), cuts)
    masks = np.split(np.frombuffer(packed.masks, "u1"), cuts)
    return Dialogues([*tokens], [*masks])


def encode(
    dialogues: Iterable[Dialogue], renderer: Renderer, context: int, counts: sequences.TokenCounts
) -> bytes:
    """Renders dialogues; what does not fit into the context is left out, answer by answer."""
    packed = pack(sequences.encode(dialogues, renderer, context, counts))
    if packed is None:
        raise DataError(
            "No dialogue of the stage's data has a turn of the trained role within "
            "model.contextLength: check data.sft and the context length."
        )
    return packed


def load(
    job: Job, paths: Sequence[str], model: Path, spec: Spec, *, as_user: bool
) -> tuple[Dialogues, dict[str, float]]:
    """The stage's dialogues, encoded with the model's tokenizer, and counts of what they hold.

    Collective; the counts are rank 0's alone.
    """
    read = (lambda: _read(job, paths, model, spec, as_user)) if job.leads else None
    data, counts = together(job, "dialogues", read) or (None, {})
    return unpack(job.control.broadcast_bytes(data)), counts


def _read(
    job: Job, paths: Sequence[str], model: Path, spec: Spec, as_user: bool
) -> tuple[bytes, dict[str, float]]:
    renderer = Renderer.load(model, call_format(spec.model.tool_format))
    counts = sequences.TokenCounts()
    skip_bad = spec.data.on_bad_row is OnBadRow.SKIP
    with planned(job.store, paths, job.pod.data_dir / "rows", skip_bad=skip_bad) as plan:
        side = exchange if as_user else agent_side
        data = encode(map(side, plan.dialogues()), renderer, spec.model.context_length, counts)
        metrics = plan.counts.as_metrics() | counts.as_metrics()
    log.info("What the stage trains on: %s", metrics)
    return data, metrics
