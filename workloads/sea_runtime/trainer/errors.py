"""What can go wrong in a trainer.

TrainerError
|- ModelError         the model's files can't be trained as they are
|- LayoutError        the parallel layout doesn't fit the model or the number of processes
|- DataError          the stage's dialogues can't be read, or hold nothing to train on
|- CheckpointError    a committed checkpoint is damaged
|- DivergenceError    the model became NaN or infinite
`- FencedError        a newer attempt has taken over: this one must stop
"""


class TrainerError(Exception):
    """Base of all; the message is a sentence for the user."""


class ModelError(TrainerError):
    pass


class LayoutError(TrainerError):
    pass


class DataError(TrainerError):
    pass


class CheckpointError(TrainerError):
    pass


class DivergenceError(TrainerError):
    pass


class FencedError(TrainerError):
    pass
