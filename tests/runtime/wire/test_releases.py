"""Pods of one job, and what they store, may be of different releases: unknown fields are left out.

Both directions are the same code: an older program reads what a newer one has written. What a newer
one reads of an older one lacks fields, which have defaults.
"""

import json
import logging
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ValidationError

from sea_api import lenient
from sea_api.v1alpha1.job import Spec
from sea_runtime.coordinator.run_record import RunRecord
from sea_runtime.trainer.checkpoint.head import Manifest
from sea_runtime.wire.checkpoints import Entry, Head, StoredObject
from sea_runtime.wire.membership import Heartbeat, HeartbeatReply, PodState, TrainerWorld
from sea_runtime.wire.rollouts import (
    Batch,
    EpisodeKind,
    EpisodeResult,
    Group,
    Lease,
    Leases,
    UserSettings,
)
from sea_runtime.wire.trainer import TaskKind, TrainerTask
from sea_runtime.wire.weights import Block, Shard, WeightVersion
from sea_testing.coordinator import inprocess as kit

STORED = StoredObject(key="k", name="n", size=1, sha256="0")
SPEC: Spec = kit.spec()
MESSAGES: list[BaseModel] = [
    Heartbeat(
        pod="p", role="trainer", address="a", incarnation="i", state=PodState.READY, leaving=True
    ),
    HeartbeatReply(
        world=TrainerWorld(
            attempt=1, pods=["p"], processes_per_pod=1, master_address="a", master_port=1
        )
    ),
    Leases(
        leases=[
            Lease(
                lease_id="l",
                kind=EpisodeKind.TRAIN,
                group_id="g",
                sample=0,
                domain="shop",
                task={"id": "free"},
                database=None,
                seed=0,
                temperature=1.0,
                max_tokens_per_turn=1,
                max_turns=1,
                context_length=1,
                user=UserSettings(engine="Scripted"),
            )
        ]
    ),
    TrainerTask(kind=TaskKind.RL, spec=SPEC),
    WeightVersion(
        stream="policy",
        version=1,
        attempt=1,
        stage="rl",
        step=1,
        shards=[
            Shard(
                rank=0,
                nbytes=4,
                blocks=[
                    Block(
                        name="w",
                        tensor=[1],
                        start=[0],
                        shape=[1],
                        dtype="float32",
                        offset=0,
                        nbytes=4,
                    )
                ],
            )
        ],
    ),
    Head(attempt=1, checkpoints=[Entry(step=1, version=1, manifest_key="k", bytes=1, time=0.0)]),
    Manifest(
        stage="rl",
        step=1,
        attempt=1,
        stream="policy",
        version=1,
        world_size=2,
        expert=2,
        finished=False,
        objects=[STORED],
        ledger=STORED,
        time=0.0,
    ),
    RunRecord(job="j"),
]
FREE = ("task", "packages", "template", "scheduling", "requests", "limits")
"""Objects whose fields are the users' own, or that hold some."""


def grown(value: Any, name: str = "") -> Any:
    """As a newer release writes it: every object has one more field."""
    if isinstance(value, list):
        return [grown(item, name) for item in value]
    if not isinstance(value, dict) or name in FREE:
        return value
    more = {"fromTheFuture": {"deep": 1}}
    return {**{key: grown(item, key) for key, item in value.items()}, **more}


@pytest.mark.parametrize("sent", MESSAGES, ids=lambda sent: type(sent).__name__)
def test_an_older_program_reads_what_a_newer_one_says(
    sent: BaseModel, caplog: pytest.LogCaptureFixture
) -> None:
    lenient._warn.cache_clear()
    text = json.dumps(grown(json.loads(sent.model_dump_json(by_alias=True))))
    with caplog.at_level(logging.WARNING):
        assert type(sent).model_validate_json(text) == sent
        assert type(sent).model_validate_json(text) == sent
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == len(set(warnings)), "once each"
    assert isinstance(sent, RunRecord) or any("fromTheFuture" in one for one in warnings)


def test_what_is_known_must_be_right() -> None:
    text = json.dumps({"attempt": "many", "fromTheFuture": 1})
    with pytest.raises(ValidationError, match="attempt"):
        Head.model_validate_json(text)


def test_a_newer_program_reads_what_an_older_one_says() -> None:
    """Which lacks the fields that were added since."""
    beat = {"pod": "p", "role": "trainer", "address": "a", "incarnation": "i", "state": "Ready"}
    assert not Heartbeat.model_validate_json(json.dumps(beat)).leaving
    assert Head.model_validate_json("{}") == Head()


def test_episodes_and_batches_may_have_more_fields_too() -> None:
    result = EpisodeResult("l", "p", "i", 1.0, "", None, 1, 1, "UserStop", [], 0.1, {}, None)
    batch = Batch("rl", 1, [Group("g", [1.0], [b"x"])], 0, 0.5)
    for sent in (result, batch):
        body = msgspec.msgpack.decode(msgspec.msgpack.encode(sent)) | {"from_the_future": 1}
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(body), type=type(sent)) == sent
