"""Rollout and user-model pods: a vLLM engine, the worker next to it, pulled weight versions.

Two containers: `engine` becomes vLLM's `server`; `worker` watches it, updates its weights and, in
rollout pods, runs episodes with it. `vllm_plugin` runs inside vLLM's processes.
"""
