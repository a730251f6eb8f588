"""What a base model's config.json says against the job, before anything is loaded."""

from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_runtime.coordinator import model_fit, stage_plan

DENSE = {
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
}
EXPERTS = {
    **DENSE,
    "architectures": ["Qwen3MoeForCausalLM"],
    "moe_intermediate_size": 768,
    "num_experts": 128,
}
YARN = {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32768}
WINDOW = {"use_sliding_window": True, "sliding_window": 16384, "max_window_layers": 0}
RL = {"name": "rl", "type": "RL", "rl": {}}
EVALUATION = {"name": "eval", "type": "Evaluation", "evaluation": {}}


def spec(*stages: dict[str, Any], **changes: Any) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "m", "source": "s3://b/m"},
            "storage": {"url": "s3://bucket/run"},
            "data": {"rl": ["s3://b/rl.jsonl"]},
            "domains": ["shop"],
            "stages": list(stages) or [RL],
            **changes,
        }
    )


def trainer(**parallelism: int) -> Spec:
    return spec(trainer={"parallelism": parallelism})


def engines(**parallelism: int) -> dict[str, Any]:
    return {"rollout": {"gpusPerPod": 8, "parallelism": parallelism}}


LLAMA = DENSE | {"architectures": ["LlamaForCausalLM"]}
LONG = {"name": "m", "source": "s3://b/m", "contextLength": 65536}
SHORT = LONG | {"contextLength": 16384}
STAGES_32 = spec(trainer={"replicas": 4, "parallelism": {"pipeline": 32}})
TRAINER_8 = spec(trainer={"parallelism": {"expert": 8}})
ENGINE_8 = spec(**engines(tensor=8))
EXPERT_ENGINE_8 = spec(**engines(tensor=8, expert=8))
EVALUATED = spec(EVALUATION)
CHOSEN = {"num_experts_per_tok": 8, "max_position_embeddings": 40960}
REPLAYED = spec(rollout={"routerReplay": True}, model=LONG | {"contextLength": 40960})


@pytest.mark.parametrize(
    ("config", "wanted", "says"),
    [
        (DENSE, spec(), ""),
        (EXPERTS, TRAINER_8, ""),
        (DENSE, TRAINER_8, "spec.trainer.parallelism.expert is 8, but the model is dense"),
        (EXPERTS | {"num_experts": 12}, TRAINER_8, "doesn't divide the model's 12 experts"),
        (EXPERTS | {"num_experts": None, "num_local_experts": 64}, TRAINER_8, ""),
        (DENSE | {"n_routed_experts": 64}, spec(), "n_routed_experts is 64"),
        (DENSE | {"hidden_act": "gelu"}, spec(), "hidden_act is 'gelu'"),
        (DENSE | {"hidden_act": "gelu"}, EVALUATED, ""),
        (DENSE | {"vocab_size": None}, spec(), "vocab_size"),
        (DENSE | WINDOW, spec(model=LONG | {"contextLength": 16385}), "sliding_window of 16384"),
        (DENSE | WINDOW, spec(model=SHORT), ""),
        (DENSE, trainer(tensor=4, pipeline=2), ""),
        (DENSE, STAGES_32, "trainer.parallelism.pipeline is 32, but the model has 28"),
        (DENSE | {"num_attention_heads": 12}, trainer(tensor=8), "the model's 12 attention heads"),
        (EXPERTS, trainer(expert=2, expertTensor=4), ""),
        (EXPERTS | {"moe_intermediate_size": 98}, trainer(expert=2, expertTensor=4), "98 columns"),
        (DENSE, ENGINE_8, ""),
        ({"text_config": DENSE}, spec(EVALUATION, **engines(tensor=8)), ""),
        ({"text_config": DENSE, "architectures": DENSE["architectures"]}, ENGINE_8, "text_config"),
        (DENSE | {"num_attention_heads": 14}, ENGINE_8, "doesn't divide the model's 14 attention"),
        (DENSE, EXPERT_ENGINE_8, "spec.rollout.parallelism.expert is 8, but the model is dense"),
        (EXPERTS, EXPERT_ENGINE_8, ""),
        (EXPERTS | {"num_experts": 60}, EXPERT_ENGINE_8, "doesn't divide the model's 60 experts"),
        (LLAMA, spec(), "the trainer can't train LlamaForCausalLM, only Qwen3MoeForCausalLM, "),
        (LLAMA, EVALUATED, ""),
        ({}, spec(), "the trainer can't train (none)"),
        ({}, EVALUATED, ""),
        (DENSE, spec(model=LONG), "spec.model.contextLength is 65536, but the model was made for"),
        (DENSE | {"rope_scaling": YARN}, spec(model=LONG), ""),
        (DENSE | {"rope_parameters": YARN}, spec(model=LONG), ""),
        (EXPERTS | CHOSEN, REPLAYED, ""),
        (DENSE, REPLAYED, "spec.rollout.routerReplay is true, but the model is dense"),
        (
            EXPERTS | CHOSEN | {"num_hidden_layers": 500, "num_experts": 512},
            REPLAYED,
            "adds 8000 bytes per token to a trajectory, which may have 256 MiB of them: lower"
            " spec.model.contextLength to 33554",
        ),
        (
            DENSE | {"rope_parameters": YARN | {"factor": 1.5}},
            spec(model=LONG),
            "the model was made for 49152",
        ),
    ],
)
def test_the_policys_model(config: dict[str, Any], wanted: Spec, says: str) -> None:
    found = list(model_fit.problems(config, wanted, stage_plan.POLICY))
    assert bool(found) is bool(says)
    assert not says or any(says in sentence for sentence in found), found


TWELVE_HEADS = DENSE | {"num_attention_heads": 12}
TENSOR_8 = {"parallelism": {"tensor": 8}}


@pytest.mark.parametrize(
    ("config", "user", "says"),
    [
        (DENSE, {"engine": "VLLM", **TENSOR_8}, ""),
        (
            TWELVE_HEADS,
            {"engine": "VLLM", **TENSOR_8},
            "an engine of spec.userModel splits each matrix over the 8 GPUs",
        ),
        (TWELVE_HEADS, {"engine": "Scripted", **TENSOR_8}, ""),
        (LLAMA, {"engine": "VLLM"}, ""),
    ],
)
def test_the_users_model(config: dict[str, Any], user: dict[str, Any], says: str) -> None:
    found = list(model_fit.problems(config, spec(userModel=user), stage_plan.USER))
    assert (says in "; ".join(found)) if says else found == []


def test_a_dense_user_next_to_a_policy_with_experts() -> None:
    """The layout is the job's: the trainer replicates a model without experts."""
    stages = ({"name": "u", "type": "UserSFT", "userSFT": {"data": ["s3://b/s.jsonl"]}}, RL)
    user = {"engine": "VLLM", "source": "hf://o/dense"}
    wanted = spec(*stages, userModel=user, trainer={"parallelism": {"expert": 8}})
    assert list(model_fit.problems(DENSE, wanted, stage_plan.USER)) == []
    assert list(model_fit.problems(LLAMA, wanted, stage_plan.USER)) != []


def test_only_what_the_models_are_looked_at_for_changes_the_digest() -> None:
    base = model_fit.digest(spec())
    assert model_fit.digest(spec(trainer={"replicas": 2})) == base
    assert model_fit.digest(spec(**engines(tensor=8))) != base
    assert model_fit.digest(spec(trainer={"parallelism": {"expert": 2}})) != base
    assert model_fit.digest(spec(EVALUATION)) != base
