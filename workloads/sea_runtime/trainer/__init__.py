"""Trainer pod: a supervisor that runs the training processes of the current attempt.

The supervisor (no torch): `__main__` serves probes, `supervisor` observes and acts, `supervision`
decides, `process_handle` is one process as it sees it. It assigns ranks over stdin and hears from
its processes over a pipe (`process_protocol`).

A training process: `process` joins the attempt and asks for tasks; `sft` and `rl` are the loops of
their stages on top of `stage_trainer`, which owns model, optimizer, checkpoints and publishing.
"""
