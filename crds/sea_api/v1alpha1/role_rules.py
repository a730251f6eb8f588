"""Rules of `roles`: layouts of trainer and engines, elastic ranges, what a volume keeps."""

from typing import Any

from sea_api.v1alpha1.rules import Rule, Transition


def processes_per_pod(gpus_per_pod: int) -> int:
    """Training or engine processes of a pod: one per GPU, or one on the CPU."""
    return max(1, gpus_per_pod)


_PROCESSES = "(self.gpusPerPod > 0 ? self.gpusPerPod : 1)"


def _world(trainer: Any) -> int:
    return int(trainer.replicas * processes_per_pod(trainer.gpus_per_pod))


def _spreads_experts_only(layout: Any) -> bool:
    sizes = (layout.tensor, layout.pipeline, layout.context, layout.expert_tensor)
    return all(size == 1 for size in sizes)


def _within_elastic(role: Any) -> bool:
    elastic = role.elastic
    return elastic is None or elastic.min_replicas <= role.replicas <= elastic.max_replicas


EXPERTS_ONLY = Rule(
    cel="self.tensor == 1 && self.pipeline == 1 && self.context == 1 && self.expertTensor == 1",
    message="trainer.parallelism tensor, pipeline, context and expertTensor must be 1, since the"
    " trainer spreads a model by its experts only: leave them out and set expert",
    holds=_spreads_experts_only,
)

EXPERT_WORLD = Rule(
    cel=f"(self.replicas * {_PROCESSES}) % self.parallelism.expert == 0",
    message="the trainer's world size, replicas * max(1, gpusPerPod), must be a multiple of"
    " parallelism.expert: change replicas, gpusPerPod or the layout",
    holds=lambda trainer: _world(trainer) % trainer.parallelism.expert == 0,
)

ELASTIC_ORDER = Rule(
    cel="self.minReplicas <= self.maxReplicas",
    message="elastic.minReplicas must not exceed elastic.maxReplicas: swap or widen the range",
    holds=lambda elastic: elastic.min_replicas <= elastic.max_replicas,
)

WITHIN_ELASTIC = Rule(
    cel="!has(self.elastic) || (self.elastic.minReplicas <= self.replicas"
    " && self.replicas <= self.elastic.maxReplicas)",
    message="replicas must lie within elastic.minReplicas and elastic.maxReplicas: change either",
    holds=_within_elastic,
)

ENGINE_TENSOR = Rule(
    cel=f"!has(self.parallelism.tensor) || self.parallelism.tensor == {_PROCESSES}",
    message="parallelism.tensor must be max(1, gpusPerPod), since a pod has one engine and the"
    " other GPUs would be idle: leave tensor out, or change gpusPerPod (and replicas)",
    holds=lambda role: role.parallelism.tensor in (None, processes_per_pod(role.gpus_per_pod)),
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
    cel="self.engine == 'VLLM' || !has(self.source)",
    message="userModel.source belongs to engine VLLM, and no other engine reads it: set engine to"
    " VLLM, or remove source",
    holds=lambda user: user.engine == "VLLM" or user.source is None,
)

KEPT_CLASS = Transition(
    cel="has(self.storageClassName) == has(oldSelf.storageClassName)"
    " && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
    message="storageClassName is immutable: the ledger is stored on its volume; create another job"
    " instead",
    holds=lambda new, old: new.storage_class_name == old.storage_class_name,
)

KEPT_USER_SOURCE = Transition(
    cel="has(self.source) == has(oldSelf.source)"
    " && (!has(self.source) || self.source == oldSelf.source)",
    message="source is immutable: the weights of the user model grew from it; create another job"
    " instead",
    holds=lambda new, old: new.source == old.source,
)

KEPT_SIZE = Transition(
    cel="string(self.volumeSize) == string(oldSelf.volumeSize)",
    message="volumeSize is immutable: a StatefulSet can't change its claims; create another job"
    " instead",
    holds=lambda new, old: new.volume_size == old.volume_size,
)
