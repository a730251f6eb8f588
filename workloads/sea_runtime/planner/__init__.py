"""What a job needs before it runs: memory, times, and how to split the GPUs. Pure, without torch.

`job_plan` puts it together for a spec: `sea plan` prints it (`page`), the coordinator refuses a job
that can't fit (`coordinator/plan_check.py`), and benchmarks compare it with what they measure.

    gpus, builtin_models, workload     what is known: rates, shapes, lengths of trajectories
    parameters, activations            counts per rank, bytes kept for the backward pass
    trainer_memory, engine_memory      bytes per GPU and per pod, item by item
    speed, transfers                   seconds per part of a step
    simulation                         the asynchronous pipeline, event by event
    alternatives                       layouts that fit, the best split of the GPUs

Units: bytes, seconds, tokens, FLOP; names say others. GB is 10^9, GiB 2^30.
"""
