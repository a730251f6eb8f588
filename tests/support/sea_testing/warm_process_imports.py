"""What the fork server of `warm_process.py` imports before its first fork.

Only libraries: the program itself must find Megatron unchanged, apply its workarounds, and then
import what takes names from it (`trainer/process.py`).
"""

import os
import warnings

# Read when torch is imported. A rank would start as many threads as the machine has cores.
os.environ["OMP_NUM_THREADS"] = "1"
warnings.simplefilter("ignore")

import megatron.core  # noqa: E402, F401
import safetensors.torch  # noqa: E402, F401
import tokenizers  # noqa: E402, F401
import torch  # noqa: E402, F401
from megatron.core import optimizer, parallel_state, pipeline_parallel, tensor_parallel  # noqa: E402, F401
from megatron.core.models.gpt import gpt_layer_specs, gpt_model  # noqa: E402, F401
