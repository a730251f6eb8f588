"""Runs vLLM's bf16 attention kernel for CPUs once; dies of SIGILL if it lacks the permission.

A program, not a module: `python attention_probe.py ISA [permit]`. ISA is vLLM's name for the
instructions: amx, or vec where the CPU has no tiles; `permit` asks Linux for the tiles before.
"""

import sys

import torch
from vllm import _custom_ops as ops

from sea_runtime.rollout.vllm_plugin.cpu_amx import permit_amx

TOKENS, HEADS, HEAD, BLOCK = 48, 2, 32, 32


def attend(isa: str) -> torch.Tensor:
    """One causal prefill of TOKENS random tokens -> [TOKENS, HEADS, HEAD]."""
    query, key, value = torch.randn(3, TOKENS, HEADS, HEAD, dtype=torch.bfloat16)
    blocks = -(-TOKENS // BLOCK)
    cache = torch.zeros(blocks, HEADS, 2 * BLOCK, HEAD, dtype=torch.bfloat16).chunk(2, dim=2)
    starts = torch.tensor([0, TOKENS], dtype=torch.int32)
    lengths = torch.tensor([TOKENS], dtype=torch.int32)
    ops.cpu_attn_reshape_and_cache(key, value, *cache, torch.arange(TOKENS), isa)
    plan = ops.cpu_attn_get_scheduler_metadata(
        1, HEADS, HEADS, HEAD, lengths, torch.bfloat16, starts, True, -1, isa, False
    )
    out = torch.empty_like(query)
    table = torch.arange(blocks, dtype=torch.int32)[None]
    ops.cpu_attention_with_kv_cache(
        query, *cache, out, starts, lengths, HEAD**-0.5, True, None, -1, table, 0.0, plan, None
    )
    assert torch.allclose(out.float(), expected(query, key, value), atol=0.05)
    return out


def expected(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    heads_first = (each.float().transpose(0, 1) for each in (query, key, value))
    attended = torch.nn.functional.scaled_dot_product_attention(*heads_first, is_causal=True)
    return attended.transpose(0, 1)


if __name__ == "__main__":
    if "permit" in sys.argv:
        permit_amx()
    attend(sys.argv[1])
