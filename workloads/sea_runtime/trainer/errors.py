"""What can go wrong in a trainer, and the cause that the supervisor reports for it.

RuntimeFailure
`- TrainerError
    |- TrainingDataError    the stage's dialogues can't be read, or hold nothing to train on
    |- CheckpointError      a committed checkpoint is damaged
    |- UncommittedError     a stage's last checkpoint can't be committed; transient
    |- DivergenceError      the model became NaN or infinite; transient
    |- OptimizerError       the optimizer can't be built as the spec asks
    |- RankOutOfMemoryError memory ran out; names rank, pipeline stage and item
    `- FencedError          a newer attempt has taken over: this one must stop
"""

from sea_api.errors import SeaError
from sea_api.v1alpha1.policy import Cause
from sea_runtime.client.calls import CoordinatorError
from sea_runtime.errors import RuntimeFailure


class TrainerError(RuntimeFailure):
    """Base of all; the message is a sentence for the user."""


class TrainingDataError(TrainerError):
    pass


class CheckpointError(TrainerError):
    pass


class UncommittedError(TrainerError):
    permanent = False


class DivergenceError(TrainerError):
    permanent = False


class OptimizerError(TrainerError):
    pass


class RankOutOfMemoryError(TrainerError):
    pass


class FencedError(TrainerError):
    pass


def cause_of(error: BaseException, *, stalled: bool) -> Cause:
    """The cause of an error that ends a training process; the only place that knows torch's types.

    Args:
        stalled: the process made no progress for as long as a collective may take. For a time-out
            as for a peer that is gone, gloo raises a plain RuntimeError (torch 2.13), NCCL a
            DistBackendError: the types are the same, but a time-out is never raised earlier.
    """
    # Not at the top: `process` imports this module before its warm-up imports torch.
    import torch
    from torch.distributed import DistError

    if isinstance(error, CoordinatorError):
        return Cause.PROCESS_EXIT  # a call that it refuses is no mistake of the user
    if isinstance(error, RankOutOfMemoryError):
        return Cause.OUT_OF_MEMORY
    # Before the types below: a RuntimeFailure of ours names its own permanence.
    if isinstance(error, SeaError):
        return Cause.USER_ERROR if error.permanent else Cause.PROCESS_EXIT
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Cause.OUT_OF_MEMORY
    # The exact type: subclasses of RuntimeError such as NotImplementedError are bugs, not
    # collectives.
    collective = isinstance(error, DistError) or type(error) is RuntimeError
    return Cause.HANG if collective and stalled else Cause.PROCESS_EXIT
