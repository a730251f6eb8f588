"""The weight registry's calls: publish, wait for newer, adopted."""

import json
import logging

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.status import WeightsStatus
from sea_data import urls
from sea_runtime.coordinator import program
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.ledger import registry
from sea_runtime.coordinator.membership import ROLLOUT
from sea_runtime.wire.weights import Adopted, ModelReply, WeightQueryReply, WeightVersion

log = logging.getLogger(__name__)

MANIFEST = "registry.json"

TORCH_NAMES = {Precision.FP32: "float32", Precision.BF16: "bfloat16"}


def require_stream(stream: str) -> None:
    if stream not in program.STREAMS:
        raise RefusedError(f"There is no weight stream '{stream}', only policy and user.")


def publish(core: Coordinator, version: WeightVersion) -> bool:
    """Registers a version and wakes the engines; False where it was known."""
    require_stream(version.stream)
    core.require_attempt(version.attempt)
    new = registry.publish(core.ledger, version, core.wall())
    log.info("weights: %s v%d of attempt %d", version.stream, version.version, version.attempt)
    core.bells.weights.ring()
    core.bells.leases.ring()
    return new


def query(core: Coordinator, stream: str, after: int) -> WeightQueryReply | None:
    """The newest version that can be had, None where it is not newer than `after`."""
    newest = registry.reachable(core.ledger, stream, core.attempt, after)
    if newest is None:
        return None
    anchor = registry.anchor(core.ledger, stream)
    behind = anchor is not None and anchor.version > after and anchor != newest
    return WeightQueryReply(
        newest=newest, required=core.required(stream), anchor=anchor if behind else None
    )


def nothing_newer(core: Coordinator, stream: str) -> WeightQueryReply:
    return WeightQueryReply(newest=None, required=core.required(stream))


def adopted(core: Coordinator, stream: str, message: Adopted) -> None:
    require_stream(stream)
    with core.ledger.transaction():
        core.ledger.run(
            "INSERT INTO adoptions "
            "(stream, pod, version, transport, transfer_s, apply_s, pause_s, time) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            stream,
            message.pod,
            message.version,
            message.transport,
            message.transfer_s,
            message.apply_s,
            message.pause_s,
            core.wall(),
        )


def status(core: Coordinator) -> WeightsStatus:
    """Of the policy: newest version and what the living engines serve."""
    served = [beat.adopted or 0 for beat in core.members.alive(ROLLOUT)]
    return WeightsStatus(
        published=registry.newest(core.ledger, program.POLICY),
        adopted_min=min(served, default=0),
        adopted_max=max(served, default=0),
        engines=len(served),
    )


def model(core: Coordinator, stream: str) -> ModelReply | None:
    """Where the stream's base model lies, None until it is there."""
    require_stream(stream)
    if core.adopted is None or stream not in core.models:
        return None
    spec = core.adopted.spec
    role = spec.user_model if stream == program.USER else spec.rollout
    return ModelReply(
        url=core.models[stream],
        name=spec.model.name,
        precision=TORCH_NAMES[spec.model.precision],
        context_length=spec.model.context_length,
        tensor_parallel=role.parallelism.tensor,
        expert_parallel=role.parallelism.expert > 1,
        tool_format=spec.model.tool_format.value,
    )


def manifest_url(run_url: str, stream: str, version: int) -> str:
    return urls.join(run_url, "weights", stream, f"v{version:06d}", MANIFEST)


def keep_anchor(core: Coordinator, version: WeightVersion) -> None:
    """Writes an anchor's entry beside its bytes, so that a lost ledger finds it again. Blocking."""
    url = manifest_url(core.desired.run_url, version.stream, version.version)
    core.store.put(url, version.model_dump_json().encode())


def read_anchors(core: Coordinator, run_url: str) -> list[WeightVersion]:
    """All anchors that the object store knows, oldest first. Blocking."""
    found = [
        WeightVersion.model_validate(json.loads(core.store.get(item.url)))
        for stream in program.STREAMS
        for item in core.store.list(urls.folder(urls.join(run_url, "weights", stream)))
        if item.url.endswith("/" + MANIFEST)
    ]
    return sorted(found, key=lambda version: version.version)
