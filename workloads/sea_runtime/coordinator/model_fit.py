"""Whether a base model can do what the job asks of it, from its config.json. Pure but for `check`.

Checked before a pod with GPUs exists: the engines and the trainer would find the same, each after
loading for minutes, and fail forever.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.role_rules import engine_workers
from sea_api.v1alpha1.roles import Rollout, UserModel
from sea_data import urls
from sea_data.models import rope, shape
from sea_data.models.shape import ModelConfigError
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.parallel.hf_config import ModelError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.rollouts import MAX_EXPERT_BYTES, expert_bytes

EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")
"""Number of experts per layer, as model families spell it."""

Config = Mapping[str, Any]


def digest(spec: Spec) -> str:
    """Changes when the models must be looked at again."""
    layouts = (spec.trainer.parallelism, spec.rollout.parallelism, spec.user_model.parallelism)
    types = sorted({stage.type for stage in spec.stages})
    replay = spec.rollout.router_replay
    return f"{spec.model.context_length} {layouts} {types} {spec.user_model.engine} {replay}"


def check(store: ObjectStore, spec: Spec, models: Mapping[str, str]) -> dict[str, Config]:
    """The config of each stream's model, read; `models`: address of its folder by stream.

    Raises:
        PreconditionError: the first thing that doesn't fit.
        StoreError: the store could not be asked.
    """
    configs: dict[str, Config] = {}
    for stream, folder in models.items():
        source = stage_plan.model_source(spec, stream)
        try:
            config = json.loads(store.get(urls.join(folder, "config.json")))
        except ValueError as error:
            raise _unfit(
                f"config.json of {source} is no JSON ({error}): upload it again"
            ) from error
        if not isinstance(config, dict):
            raise _unfit(f"config.json of {source} is no JSON object: upload it again")
        for sentence in problems(config, spec, stream):
            raise _unfit(f"{sentence} (the model is {source})")
        configs[stream] = config
    return configs


def _unfit(sentence: str) -> PreconditionError:
    return PreconditionError("ModelDoesNotFit", f"{sentence}.")


def problems(config: Config, spec: Spec, stream: str) -> Iterator[str]:
    """What of the spec the stream's model can't do."""
    # Multimodal models keep the text model's numbers one level down.
    text = config.get("text_config") or config
    yield from _training(config, text, spec, stream)
    yield from _context(text, spec)
    policy = stream == stage_plan.POLICY
    if policy or spec.user_model.engine == "VLLM":
        role = spec.rollout if policy else spec.user_model
        yield from _engine(text, "rollout" if policy else "userModel", role)
    if policy and spec.rollout.router_replay:
        yield from _replay(config, spec)


def _training(config: Config, text: Config, spec: Spec, stream: str) -> Iterator[str]:
    trained = {stage_plan.stream_of(stage) for stage in spec.stages if stage_plan.trains(stage)}
    if stream not in trained:
        return
    yield from _exactly(config, spec)
    # A layout is the job's: with experts in one model it is right for a dense one next to it.
    wanted, experts = spec.trainer.parallelism.expert, _experts(text)
    if wanted > 1 and stream == stage_plan.POLICY and not experts:
        yield (
            f"spec.trainer.parallelism.expert is {wanted}, but the model is dense and has no"
            " experts to spread: remove it"
        )
    yield from _layout(config, spec)


def _replay(config: Config, spec: Spec) -> Iterator[str]:
    """What router replay asks of the model."""
    try:
        found = hf_config.parse(json.dumps(config))
    except ModelError:
        return
    if not found.experts:
        yield (
            "spec.rollout.routerReplay is true, but the model is dense and has no experts to"
            " replay: remove it"
        )
        return
    token = expert_bytes(found.layers, found.experts_per_token, found.experts)
    longest = MAX_EXPERT_BYTES // token
    if spec.model.context_length > longest:
        yield (
            f"spec.rollout.routerReplay adds {token} bytes per token to a trajectory, which may"
            f" have {MAX_EXPERT_BYTES >> 20} MiB of them: lower spec.model.contextLength to"
            f" {longest}, or remove routerReplay"
        )


def _layout(config: Config, spec: Spec) -> Iterator[str]:
    """What the trainer's layout asks of the model, in the trainer's own words."""
    try:
        shape = hf_config.parse(json.dumps(config))
    except ModelError:
        return  # a config.json that can't be read is named by the engine that loads it
    for sentence in parallel_layout.refusals(spec.trainer.parallelism, shape):
        yield f"spec.{sentence}"


def _exactly(config: Config, spec: Spec) -> Iterator[str]:
    """What of the model the trainer would compute differently."""
    try:
        found = shape.of_config(config)
    except ModelConfigError as error:
        sentence = str(error).removesuffix(".")
        yield f"{sentence}. Name another model, or remove the stages that train it"
        return
    if found.window and spec.model.context_length > found.window:
        yield (
            f"spec.model.contextLength is {spec.model.context_length}, but the model has a"
            f" sliding_window of {found.window} tokens, which the trainer doesn't compute: lower it"
        )


def _context(text: Config, spec: Spec) -> Iterator[str]:
    longest, wanted = text.get("max_position_embeddings"), spec.model.context_length
    if not isinstance(longest, int):
        return
    try:
        scaling = rope.rope_of(text, ModelConfigError)[1]
    except ModelConfigError:
        return  # a kind of scaling that only the engine knows: it bounds the context itself
    longest = scaling.longest(longest) if scaling else longest
    if wanted <= longest:
        return
    yield (
        f"spec.model.contextLength is {wanted}, but the model was made for {longest} tokens at"
        " most (max_position_embeddings): lower it"
    )


def _engine(text: Config, role: str, pods: Rollout | UserModel) -> Iterator[str]:
    heads, experts = text.get("num_attention_heads"), _experts(text)
    layout, tensor = pods.parallelism, engine_workers(pods)
    if isinstance(heads, int) and heads % tensor:
        parts, field = ("GPUs of its pod", "gpusPerPod")
        if not pods.gpus_per_pod:
            parts, field = ("processes", "parallelism.tensor")
        yield (
            f"an engine of spec.{role} splits each matrix over the {tensor} {parts}, which"
            f" doesn't divide the model's {heads} attention heads: set spec.{role}.{field} to a"
            " divisor"
        )
    if layout.expert > 1 and not experts:
        yield (
            f"spec.{role}.parallelism.expert is {layout.expert}, but the model is dense and has no"
            " experts to spread: remove it"
        )
    if experts % layout.expert:
        yield (
            f"spec.{role}.parallelism.expert is {layout.expert}, which doesn't divide the model's"
            f" {experts} experts: choose a divisor"
        )


def _experts(text: Config) -> int:
    return next((int(text[key]) for key in EXPERT_KEYS if text.get(key)), 0)
