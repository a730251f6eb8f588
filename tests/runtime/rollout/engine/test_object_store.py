"""An engine that shares nothing with its trainer but the object store: anchors and deltas."""

from collections.abc import Callable

import pytest
import torch

from sea_devcluster.s3 import S3Server
from sea_runtime.rollout import weight_swap
from sea_runtime.rollout.engine_client import EngineClient
from sea_runtime.rollout.weight_swap import Timings
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import delta_upload
from sea_runtime.trainer.delta_upload import Packed
from sea_runtime.transport import manifest, stored_versions
from sea_runtime.wire.weights import Shard, WeightVersion
from sea_testing.publisher import Publisher
from sea_testing.reference import Reference

pytestmark = pytest.mark.component

RUN = "s3://runs/on-s3-alone"
PROMPT = [7, 42, 19, 30, 11, 50, 33, 8, 9, 10, 44, 25]
TOLERANCE = 1e-3


class Stored:
    """Puts versions into the object store, as trainer ranks and coordinator do."""

    def __init__(self, publisher: Publisher, store: ObjectStore) -> None:
        self.publisher, self.store = publisher, store

    def put(self, number: int, base: WeightVersion | None = None) -> WeightVersion:
        """All bytes, or a delta for `base` in which 4 % of the elements changed."""
        more = {} if base is None else {"after": str(self.publisher.weights(base.version))}
        made = self.publisher.publish(number, **more).copies()
        version = made.model_copy(
            update={"run_url": RUN, "shards": [self._shard(made, one, base) for one in made.shards]}
        )
        url = stored_versions.manifest_url(RUN, version.stream, number)
        self.store.put(url, version.model_dump_json().encode())
        return version

    def _shard(self, version: WeightVersion, shard: Shard, base: WeightVersion | None) -> Shard:
        new = self._packed(version, shard.rank)
        where = (RUN, version.stream, version.version, shard.rank)
        if base is None:
            url = stored_versions.shard_url(*where, version.attempt)
            self.store.put_buffer(url, new.buffer.numpy().data)
            return shard.model_copy(update={"object_url": url})
        url = stored_versions.delta_url(*where, version.attempt)
        delta = delta_upload.upload(self._packed(base, shard.rank), new, self.store, url)
        assert sum(delta.sizes) < 0.2 * shard.nbytes
        return shard.model_copy(update={"delta": delta})

    def _packed(self, version: WeightVersion, rank: int) -> Packed:
        data = self.publisher.shard(version.version, rank).read_bytes()
        buffer = manifest.allocate(len(data))
        buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        return Packed(version.version, version.attempt, 0, version.shards[rank].blocks, buffer)


async def test_a_chain_of_deltas_equals_a_fresh_load_of_each_version(
    engine: EngineClient,
    s3: S3Server,
    publisher: Publisher,
    reference: Reference,
    versions: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An anchor, what changed since, two deltas at once; then a gap, after which the anchor helps.

    Every version is checked by the sums of the live parameters as well.
    """
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    stored = Stored(publisher, ObjectStore(s3.endpoint))

    async def adopted(version: WeightVersion) -> Timings:
        timings = await weight_swap.adopt(engine, version.model_copy(update={"check": True}))
        turn = await engine.generate(
            PROMPT, max_tokens=16, temperature=1.0, stop_token_ids=[], seed=0
        )
        assert set(turn.versions) == {version.version}
        reference.load(publisher.weights(version.version))
        expected = reference.logprobs(PROMPT, turn.token_ids)
        pairs = zip(expected, turn.logprobs, strict=True)
        assert max(abs(a - b) for a, b in pairs) < TOLERANCE
        return timings

    anchor = stored.put(versions())
    assert (await adopted(anchor)).transport == "ObjectStore"
    first = stored.put(versions(), anchor)
    assert (await adopted(first)).transport == "Delta"
    second = stored.put(versions(), first)
    third = stored.put(versions(), second)
    assert (await adopted(third)).transport == "Delta"
    # The trainer restarted: the chain begins again.
    again = stored.put(versions())
    lost = stored.put(versions(), again)
    stored.store.delete(stored_versions.manifest_url(RUN, lost.stream, lost.version))
    last = stored.put(versions(), lost)
    with pytest.raises(weight_swap.PrefetchError, match=r"registry\.json"):
        await weight_swap.adopt(engine, last)
    assert (await engine.version()).number == third.version
    assert (await adopted(again)).transport == "ObjectStore"
