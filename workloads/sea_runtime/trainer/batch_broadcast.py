"""How an RL batch gets from rank 0 to all ranks: what each of them needs. Used by `rl.py`.

Every rank gets all tokens: rows are planned from them, alike on every rank. The experts to replay
(`rollout.routerReplay`) are most of a batch, gigabytes with a large model. They are broadcast one
trajectory at a time, and a rank keeps those of its own layers, for the samples in its own rows.
Only rank 0, which fetched them, has a batch whole, and drops what it has sent.
"""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import msgspec

from sea_runtime.trainer.model import Model
from sea_runtime.trainer.packed_row import Choices
from sea_runtime.trainer.process_groups import ControlGroup
from sea_runtime.trainer.rl_batch import RLBatch, Shaping, minibatches, undecodable, unpack
from sea_runtime.wire.rollouts import Batch, Trajectory, UndecodableError, chosen_experts


@dataclass(frozen=True)
class Outgoing:
    """A batch on rank 0."""

    light: bytes
    """The batch (`wire.rollouts.Batch`) with trajectories that name no experts."""
    experts: list[bytes]
    """Of each trajectory, in order; empty where it names none. Emptied while they are sent."""

    @staticmethod
    def of(data: bytes) -> "Outgoing":
        """What can't be decoded stays as it is: all ranks then find out, together."""
        try:
            batch = Batch.decode(data)
        except UndecodableError:
            return Outgoing(data, [])
        experts: list[bytes] = []
        for group in batch.groups:
            for sample, body in enumerate(group.trajectories):
                light, named = _separated(body)
                # In place: of a batch of gigabytes there are not two copies.
                group.trajectories[sample] = light
                experts.append(named)
        return Outgoing(msgspec.msgpack.encode(batch) if any(experts) else data, experts)


def _separated(body: bytes) -> tuple[bytes, bytes]:
    """An encoded trajectory without its experts, and these."""
    try:
        found = Trajectory.decode(body)
    except UndecodableError:
        return body, b""
    if not found.experts:
        return body, b""
    return msgspec.structs.replace(found, experts=b"").encode(), found.experts


def receive(
    control: ControlGroup, outgoing: Outgoing | None, model: Model, shaping: Shaping, updates: int
) -> RLBatch:
    """The batch on every rank. Collective.

    Args:
        outgoing: of rank 0; None elsewhere.
        updates: minibatches of the step, `RLStage.minibatches`.

    Raises:
        UndecodableError: on every rank, as `rl_batch.unpack`; also if the experts are not those of
            such a model.
    """
    received = Batch.decode(control.broadcast_bytes(outgoing.light if outgoing else None))
    batch = unpack(received, shaping, model.shape)
    sizes: list[int] = control.broadcast([len(one) for one in outgoing.experts] if outgoing else [])
    if not any(sizes):
        return batch
    own = own_samples(batch, model, updates)
    samples = _samples_of(batch, len(sizes))
    choices: Choices = [None] * len(batch.tokens)
    crc = batch.crc32
    for number, size in enumerate(sizes):
        if size:
            sent = outgoing.experts[number] if outgoing else None
            piece = control.broadcast_bytes(sent, size)
            crc = zlib.crc32(piece, crc)
            try:
                _keep(choices, piece, batch, samples[number], own, model)
            except UndecodableError as error:
                raise undecodable(received, number, error) from error
            if outgoing:
                outgoing.experts[number] = b""
    return replace(batch, choices=choices, crc32=crc)


def own_samples(batch: RLBatch, model: Model, updates: int) -> Collection[int]:
    """Samples in this rank's rows: those of the step's minibatches, and of the pass before them."""
    if model.layout.data == 1:
        return range(len(batch.tokens))
    found: set[int] = set()
    for groups in (range(batch.groups), *minibatches(batch.groups, updates)):
        for microbatch in model.plan(batch.tokens, batch.trained(groups), batch.masks):
            found.update(microbatch.rows[model.place.data_rank])
    return found


def _samples_of(batch: RLBatch, trajectories: int) -> list[list[int]]:
    """The samples of each trajectory, which hold its tokens end to end."""
    found: list[list[int]] = [[] for _ in range(trajectories)]
    for sample, trajectory in enumerate(batch.trajectory_of):
        found[trajectory].append(sample)
    return found


def _keep(
    choices: Choices,
    piece: bytes,
    batch: RLBatch,
    samples: Sequence[int],
    own: Collection[int],
    model: Model,
) -> None:
    """Adds a trajectory's experts, of the rank's layers and samples."""
    shape, layers = model.shape, model.place.layers
    lengths = [len(batch.tokens[sample]) for sample in samples]
    whole = chosen_experts(
        piece, sum(lengths), shape.layers, shape.experts_per_token, shape.experts
    )
    start = 0
    for sample, length in zip(samples, lengths, strict=True):
        if sample in own:
            # A copy: a view would keep the experts of all layers.
            choices[sample] = whole[start : start + length, layers.start : layers.stop].copy()
        start += length
