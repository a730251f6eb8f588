"""What sea-operator adds to vLLM's processes: pulled weight versions and CPU workarounds.

vLLM loads `register.register` in each of its processes through the entry point
`vllm.general_plugins`; the worker process also gets `transfer_engine.SeaWorker`. The files
`cpu_*.py`, `rollout/forked_engine_core.py` and `rollout/dead_engine_core.py` are workarounds;
`tests/runtime/rollout/engine/test_workarounds.py` switches each one off and expects the failure
that it is for.
"""

VERSION = "0.32.0"
"""The version of vLLM that the workarounds are for."""
