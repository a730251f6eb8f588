"""`builtin:tiny`: a Qwen3-MoE of about three million parameters, built without torch.

The coordinator builds it into `base/` of the run; engines and trainer load it like any HF folder.
"""
