"""Rollout and user-model pods: a vLLM engine, the worker beside it, pulled weight versions."""
