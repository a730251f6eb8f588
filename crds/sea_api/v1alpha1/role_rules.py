"""Rules of `roles`: layouts of trainer and engines, elastic ranges, what a volume keeps."""

from typing import Any

from sea_api.v1alpha1.rules import Rule, Transition, immutable


def processes_per_pod(gpus_per_pod: int) -> int:
    """Training or engine processes of a pod: one per GPU, or one on the CPU."""
    return max(1, gpus_per_pod)


def engine_workers(role: Any) -> int:
    """vLLM workers of an engine pod: one per GPU, or as many as `tensor` says on the CPU."""
    return int(role.gpus_per_pod or role.parallelism.tensor or 1)


_PROCESSES = "(self.gpusPerPod > 0 ? self.gpusPerPod : 1)"


def _world(trainer: Any) -> int:
    return int(trainer.replicas * processes_per_pod(trainer.gpus_per_pod))


def expert_tensor(layout: Any) -> int:
    """Parts of each expert's matrices: whole experts if they are spread, otherwise as `tensor`."""
    default = 1 if layout.expert > 1 else layout.tensor
    return int(default if layout.expert_tensor is None else layout.expert_tensor)


def attention_ways(layout: Any) -> int:
    """Ranks of one replica of everything but the experts."""
    return int(layout.tensor * layout.pipeline * layout.context)


def expert_ways(layout: Any) -> int:
    """Ranks of one replica of the experts."""
    return int(expert_tensor(layout) * layout.expert * layout.pipeline)


def _within_elastic(role: Any) -> bool:
    elastic = role.elastic
    return elastic is None or elastic.min_replicas <= role.replicas <= elastic.max_replicas


EXPERT_TENSOR = Rule(
    cel="!has(self.expertTensor) || self.expert > 1 || self.expertTensor == self.tensor",
    message="trainer.parallelism.expertTensor must equal tensor while expert is 1: leave it out,"
    " or spread the experts with expert",
    # megatron-core 0.16.1 tells experts from other weights by the expert-parallel size only: with
    # 1 it would reduce the gradients of experts over the wrong ranks, without an error.
    holds=lambda layout: layout.expert > 1 or expert_tensor(layout) == layout.tensor,
)

_EXPERT_TENSOR = (
    "(has(self.parallelism.expertTensor) ? self.parallelism.expertTensor"
    " : self.parallelism.expert > 1 ? 1 : self.parallelism.tensor)"
)


def _is_multiple(number: str, ways: str) -> str:
    """CEL. A layout of 0 is refused by its bound; here it must not divide."""
    return f"({ways}) < 1 || ({number}) % ({ways}) == 0"


# World size: pods times processes per pod. Every replica of a layout takes
# tensor * pipeline * context ranks of it (attention), and the experts of one
# expert * expertTensor * pipeline.
_WORLD = f"self.replicas * {_PROCESSES}"
_ATTENTION = "self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.context"
_EXPERTS = f"self.parallelism.expert * {_EXPERT_TENSOR} * self.parallelism.pipeline"

ATTENTION_WORLD = Rule(
    cel=_is_multiple(_WORLD, _ATTENTION),
    message="the trainer's world size, replicas * max(1, gpusPerPod), must be a multiple of"
    " parallelism.tensor * pipeline * context: change replicas, gpusPerPod or the layout",
    holds=lambda trainer: _world(trainer) % attention_ways(trainer.parallelism) == 0,
)

EXPERT_WORLD = Rule(
    cel=_is_multiple(_WORLD, _EXPERTS),
    message="the trainer's world size, replicas * max(1, gpusPerPod), must be a multiple of"
    " parallelism.expert * expertTensor * pipeline: change replicas, gpusPerPod or the layout",
    holds=lambda trainer: _world(trainer) % expert_ways(trainer.parallelism) == 0,
)

ELASTIC_ORDER = Rule(
    cel="self.minReplicas <= self.maxReplicas",
    message="elastic.minReplicas must not exceed elastic.maxReplicas: swap or widen the range",
    holds=lambda elastic: elastic.min_replicas <= elastic.max_replicas,
)


def _admits(pods: str) -> str:
    """CEL: whether the layout divides the processes of that many pods."""
    world = f"{pods} * {_PROCESSES}"
    return f"({_is_multiple(world, _ATTENTION)}) && ({_is_multiple(world, _EXPERTS)})"


def _admits_range(trainer: Any) -> bool:
    if trainer.elastic is None:
        return True
    processes = processes_per_pod(trainer.gpus_per_pod)
    # Only the ends of the range: sizes in between that the layout doesn't divide are skipped
    # (`elastic.trainer_sizes`).
    return all(
        pods * processes % ways == 0
        for pods in (trainer.elastic.min_replicas, trainer.elastic.max_replicas)
        for ways in (attention_ways(trainer.parallelism), expert_ways(trainer.parallelism))
    )


ELASTIC_SIZES = Rule(
    cel=f"!has(self.elastic) || (({_admits('self.elastic.minReplicas')})"
    f" && ({_admits('self.elastic.maxReplicas')}))",
    message="trainer.elastic.minReplicas and maxReplicas must be sizes that the layout admits:"
    " each, times max(1, gpusPerPod), a multiple of parallelism.tensor * pipeline * context and of"
    " expert * expertTensor * pipeline; change the range or the layout",
    holds=_admits_range,
)

RESIZE_NEEDS_RANGE = Rule(
    cel="has(self.trainer.elastic) || !self.failurePolicy.rules.exists(r, r.action == 'Resize')",
    message="failurePolicy.rules has the action Resize, but the trainer has one size only: add"
    " trainer.elastic, or choose another action",
    holds=lambda spec: (
        spec.trainer.elastic is not None
        or all(rule.action != "Resize" for rule in spec.failure_policy.rules)
    ),
)

WITHIN_ELASTIC = Rule(
    cel="!has(self.elastic) || (self.elastic.minReplicas <= self.replicas"
    " && self.replicas <= self.elastic.maxReplicas)",
    message="replicas must lie within elastic.minReplicas and elastic.maxReplicas: change either",
    holds=_within_elastic,
)

ENGINE_TENSOR = Rule(
    cel="!has(self.parallelism.tensor) || self.gpusPerPod == 0"
    " || self.parallelism.tensor == self.gpusPerPod",
    message="parallelism.tensor must be gpusPerPod unless that is 0, since a pod has one engine and"
    " the other GPUs would be idle: leave tensor out, or change gpusPerPod (and replicas)",
    holds=lambda role: role.parallelism.tensor in (None, engine_workers(role)),
)

ENGINE_EXPERT = Rule(
    cel="self.parallelism.expert == 1 || self.parallelism.expert == " + _PROCESSES,
    message="parallelism.expert must be 1 or max(1, gpusPerPod), since an engine spreads its"
    " experts over the same GPUs as its matrices: correct it, or change gpusPerPod",
    holds=lambda role: role.parallelism.expert in (1, processes_per_pod(role.gpus_per_pod)),
)

EXTERNAL_URL = Rule(
    cel="self.engine != 'External' || has(self.url)",
    message="userModel.url is needed with engine External: give the base URL of an"
    " OpenAI-compatible server",
    holds=lambda user: user.engine != "External" or user.url is not None,
)

_EXTERNAL_ONLY = {"url": "url", "model": "model", "apiKeySecret": "api_key_secret"}

EXTERNAL_ONLY = Rule(
    cel="self.engine == 'External' || "
    f"!({' || '.join(f'has(self.{field})' for field in _EXTERNAL_ONLY)})",
    message="userModel.url, model and apiKeySecret belong to engine External, and no other engine"
    " reads them: set engine to External, or remove them",
    holds=lambda user: (
        user.engine == "External"
        or all(getattr(user, name) is None for name in _EXTERNAL_ONLY.values())
    ),
)

VLLM_ONLY = Rule(
    cel="self.engine == 'VLLM' || !(has(self.source) || has(self.elastic))",
    message="userModel.source and elastic belong to engine VLLM, and no other engine reads them:"
    " set engine to VLLM, or remove them",
    holds=lambda user: user.engine == "VLLM" or (user.source is None and user.elastic is None),
)

KEPT_CLASS = immutable(
    "storageClassName",
    "storage_class_name",
    "the ledger is stored on its volume; create another job instead",
    optional=True,
)

KEPT_USER_SOURCE = immutable(
    "source",
    "source",
    "the weights of the user model grew from it; create another job instead",
    optional=True,
)

KEPT_SIZE = Transition(
    # `string`: the field may be a number or a text, which CEL doesn't compare.
    cel="string(self.volumeSize) == string(oldSelf.volumeSize)",
    message="volumeSize is immutable: a StatefulSet can't change its claims; create another job"
    " instead",
    holds=lambda new, old: new.volume_size == old.volume_size,
)
