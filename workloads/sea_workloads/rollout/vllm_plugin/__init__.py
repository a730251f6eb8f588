"""What sea-operator adds to vLLM's processes: pulled weight versions and CPU workarounds.

vLLM loads `register.register` in each of its processes through the entry point
`vllm.general_plugins`; the worker process additionally gets `worker_extension.SeaWorker`.
"""
