"""Trainer pod: a supervisor that runs the training processes of the current attempt.

`__main__` and `supervis*` are the supervisor (no torch), `process` and everything beside it are
what a training process does: stages, weights, checkpoints, export.
"""
