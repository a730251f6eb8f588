"""What `layouts.py` tries: models, the layouts of each, checkpoints of one layout in another."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.parallel.parallel_layout import ParallelLayout

EXPERT_FIELDS = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 6,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 128,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "vocab_size": 509,
    "tie_word_embeddings": False,
}
DENSE = {key: value for key, value in MOE.items() if key not in EXPERT_FIELDS} | {
    "architectures": ["Qwen3ForCausalLM"]
}
QWEN2 = DENSE | {"architectures": ["Qwen2ForCausalLM"]}
"""With biases of query, key and value."""
REFERENCE = MOE | {"num_hidden_layers": 94, "moe_intermediate_size": 16, "hidden_size": 32}
MODELS = {
    "moe": MOE,
    "moe, 2 KV heads": MOE | {"num_key_value_heads": 2},
    "dense": DENSE,
    "qwen2": QWEN2,
    "dense, tied": DENSE | {"tie_word_embeddings": True},
    "moe, tied": MOE | {"tie_word_embeddings": True},
    "94 layers": REFERENCE,
    "two layers": MOE | {"num_hidden_layers": 2},
}


def ways(tensor: int = 1, pipeline: int = 1, context: int = 1, **more: int) -> TrainerParallelism:
    return TrainerParallelism(tensor=tensor, pipeline=pipeline, context=context, **more)


@dataclass(frozen=True)
class Case:
    model: str
    world: int
    requested: TrainerParallelism
    change: Callable[[ParallelLayout], ParallelLayout] | None = None
    """Makes a layout that the plan refuses."""

    def layout(self) -> ParallelLayout:
        shape = hf_config.parse(json.dumps(MODELS[self.model]))
        found = parallel_layout.plan(self.requested, shape, self.world)
        return self.change(found) if self.change else found

    def __str__(self) -> str:
        return f"{self.model}: {self.layout()}"


ALL = ways(tensor=2, pipeline=2, expert=2)
SMALL = [
    Case("moe", 4, ALL),
    Case("moe", 4, ways(pipeline=4)),
    Case("moe", 2, ways(context=2)),
    Case("dense, tied", 4, ways(tensor=2, pipeline=2)),
]
"""Each axis once, uneven stages, both kinds of model."""
WHOLE = [
    *SMALL,
    Case("moe", 2, ways(tensor=2)),
    Case("moe", 2, ways(tensor=2, expert=2)),
    Case("moe", 2, ways(expert=2)),
    Case("moe", 4, ways(tensor=4, expert=4)),
    Case("moe, 2 KV heads", 4, ways(tensor=4, expert=4)),
    Case("moe", 2, ways(pipeline=2)),
    Case("moe", 4, ways(tensor=2, expert=4)),
    Case("moe", 4, ways(tensor=2, expert=2, expert_tensor=2)),
    Case("moe", 4, ways(expert=2, expert_tensor=2)),
    Case("moe", 4, ways(pipeline=2, expert=2)),
    Case("moe", 4, ways(context=4)),
    Case("moe", 4, ways(context=2, tensor=2, expert=4)),
    Case("moe", 4, ways(context=2, pipeline=2, expert=2)),
    Case("moe", 4, ways(context=2, expert=2)),
    Case("moe, tied", 4, ALL),
    Case("moe", 8, ALL),
    Case("moe", 8, ways(tensor=4, pipeline=2, expert=4)),
    Case("moe", 8, ways(tensor=2, pipeline=2, expert=2, expert_tensor=2)),
    Case("moe", 8, ways(tensor=2, pipeline=2, context=2, expert=4)),
    Case("moe, 2 KV heads", 8, ways(tensor=8, expert=8)),
    Case("dense", 2, ways(tensor=2)),
    Case("dense", 4, ways(tensor=4)),
    Case("dense", 2, ways(pipeline=2)),
    Case("dense", 4, ways(pipeline=4)),
    Case("dense", 2, ways(context=2)),
    Case("dense", 8, ways(tensor=2, pipeline=2, context=2)),
    Case("qwen2", 4, ways(tensor=4)),
    Case("qwen2", 4, ways(tensor=2, pipeline=2)),
    Case("dense, tied", 2, ways(pipeline=2)),
    Case("dense, tied", 4, ways()),
]
REFERENCE_48 = Case("94 layers", 48, ways(tensor=4, pipeline=12, expert=4))
LAYOUTS = {
    "tensor 2": (2, ways(tensor=2)),
    "tensor 4": (4, ways(tensor=4, expert=4)),
    "pipeline 2": (2, ways(pipeline=2)),
    "pipeline 4": (4, ways(pipeline=4)),
    "context 2": (2, ways(context=2)),
    "expert 2": (2, ways(expert=2)),
    "expert tensor 2": (4, ways(tensor=2, expert=2, expert_tensor=2)),
    "all": (4, ALL),
}
PAIRS = [(a, b) for a in LAYOUTS for b in LAYOUTS if a != b]
SMALL_PAIRS = [("all", "pipeline 2"), ("all", "context 2"), ("context 2", "all")]
"""Of a model of two layers: fewer and more ranks, experts divided and not."""
KINDS = {
    "tensor": ways(tensor=2),
    "pipeline": ways(pipeline=2),
    "context": ways(context=2),
    "expert": ways(expert=2),
}
"""Two ranks that share one kind of group."""
