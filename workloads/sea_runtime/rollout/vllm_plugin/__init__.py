"""What sea-operator adds to vLLM's processes: pulled weight versions and CPU workarounds.

vLLM loads `register.register` in each of its processes through the entry point
`vllm.general_plugins`; the worker process additionally gets `worker_extension.SeaWorker`.
Workarounds are the files `cpu_*.py` and `rollout/forked_engine_core.py`;
`tests/runtime/rollout/engine/test_workarounds.py` switches each one off and expects the failure
that it's for.
"""

VERSION = "0.32.0"
"""Of vLLM, which the workarounds are for."""
