"""SFT data on all ranks: rank 0 reads and encodes the dialogues, everyone gets the tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from sea_workloads.tokens.messages import Message
from sea_workloads.tokens.renderer import Renderer
from sea_workloads.trainer.dialogue_files import read
from sea_workloads.trainer.errors import DataError
from sea_workloads.trainer.job import Job


@dataclass(frozen=True)
class Dialogues:
    """Encoded dialogues; `masks` are 1 on what the trained role wrote."""

    tokens: list[NDArray[np.int32]]
    masks: list[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.tokens)


class _Packed(msgspec.Struct):
    lengths: list[int]
    tokens: bytes
    masks: bytes


def pack(tokens: list[list[int]], masks: list[list[int]]) -> bytes:
    """All dialogues as one message."""
    flat = np.concatenate([np.asarray(one, "<i4") for one in tokens])
    marks = np.concatenate([np.asarray(one, "u1") for one in masks])
    lengths = [len(one) for one in tokens]
    return msgspec.msgpack.encode(_Packed(lengths, flat.tobytes(), marks.tobytes()))


def unpack(data: bytes) -> Dialogues:
    packed = msgspec.msgpack.decode(data, type=_Packed)
    cuts = np.cumsum(packed.lengths)[:-1]
    tokens = np.split(np.frombuffer(packed.tokens, "<i4"), cuts)
    masks = np.split(np.frombuffer(packed.masks, "u1"), cuts)
    return Dialogues([*tokens], [*masks])


def encode(rows: Iterable[Sequence[Message]], renderer: Renderer, context: int) -> bytes:
    """Renders dialogues; what is longer than the context is cut at its end."""
    tokens, masks = [], []
    for messages in rows:
        ids, mask = renderer.dialogue(messages)
        if any(mask[:context]):
            tokens.append(ids[:context])
            masks.append(mask[:context])
    if not tokens:
        raise DataError(
            "No dialogue of the stage's data has a turn of the trained role within "
            "model.contextLength: check data.sft and the context length."
        )
    return pack(tokens, masks)


def load(
    job: Job, paths: Sequence[str], model: Path, context: int, *, skip_bad: bool, as_user: bool
) -> Dialogues:
    """The stage's dialogues, encoded with the model's tokenizer. Collective."""
    data: bytes | None = None
    if job.leads:
        found = read(job.store, paths, skip_bad=skip_bad, as_user=as_user)
        data = encode(found, Renderer.load(model), context)
    return unpack(job.control.broadcast_bytes(data))
