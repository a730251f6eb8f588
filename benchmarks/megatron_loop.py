"""Megatron's GPTModel as a minimal program builds it; a rival of `trainer_rivals.py`."""

from pathlib import Path
from typing import Any

import torch
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.transformer.module import MegatronModule
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.trainer import megatron_config


class OneCall(MegatronModule):
    """Causal attention of a padded batch by one call of torch."""

    def __init__(self, config: Any, *_: Any, **__: Any) -> None:
        super().__init__(config=config)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        """[s, b, heads, d] -> [s, b, heads * d]."""
        q, k, v = (x.permute(1, 2, 0, 3) for x in (query, key, value))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return out.permute(2, 0, 1, 3).flatten(2)


def build(folder: Path) -> GPTModel:
    """In FP32 on the CPU, with the folder's weights."""
    shape = hf_config.load(folder)
    layout = parallel_layout.plan(TrainerParallelism(), shape, 1)
    config = megatron_config.transformer_config(shape, layout, torch.float32, Recomputation.NONE)
    spec = gpt_layer_specs.get_gpt_layer_local_spec(
        num_experts=shape.experts or None, qk_layernorm=True, normalization="RMSNorm"
    )
    spec.submodules.self_attention.submodules.core_attention = OneCall
    built = GPTModel(
        config=config,
        transformer_layer_spec=spec,
        vocab_size=shape.vocabulary,
        max_sequence_length=shape.context,
        share_embeddings_and_output_weights=shape.tied,
        position_embedding_type="rope",
        rotary_base=shape.rope_theta,
    )
    _load(built, load_file(folder / "model.safetensors"), shape)
    return built


@torch.no_grad()
def _load(built: GPTModel, tensors: dict[str, Tensor], shape: hf_config.ModelShape) -> None:
    """The tiny model's names, tied embeddings, all experts."""
    own = dict(built.named_parameters())

    def put(name: str, *parts: Tensor) -> None:
        own[name].copy_(torch.cat(parts))

    put("embedding.word_embeddings.weight", tensors["model.embed_tokens.weight"])
    put("decoder.final_layernorm.weight", tensors["model.norm.weight"])
    for layer in range(shape.layers):
        hf, at = f"model.layers.{layer}.", f"decoder.layers.{layer}."
        put(f"{at}input_layernorm.weight", tensors[f"{hf}input_layernorm.weight"])
        put(f"{at}pre_mlp_layernorm.weight", tensors[f"{hf}post_attention_layernorm.weight"])
        heads = [
            tensors[f"{hf}self_attn.{x}_proj.weight"].view(shape.kv_heads, -1, shape.hidden)
            for x in "qkv"
        ]
        put(f"{at}self_attention.linear_qkv.weight", torch.cat(heads, 1).flatten(0, 1))
        put(f"{at}self_attention.linear_proj.weight", tensors[f"{hf}self_attn.o_proj.weight"])
        for x in "qk":
            put(
                f"{at}self_attention.{x}_layernorm.weight",
                tensors[f"{hf}self_attn.{x}_norm.weight"],
            )
        put(f"{at}mlp.router.weight", tensors[f"{hf}mlp.gate.weight"])
        for expert in range(shape.experts):
            one, to = f"{hf}mlp.experts.{expert}.", f"{at}mlp.experts.local_experts.{expert}."
            gate_up = tensors[f"{one}gate_proj.weight"], tensors[f"{one}up_proj.weight"]
            put(f"{to}linear_fc1.weight", *gate_up)
            put(f"{to}linear_fc2.weight", tensors[f"{one}down_proj.weight"])
