"""What can go wrong in a trainer, one small tree.

TrainerError
├── ModelError        the model's files can't be trained as they are
├── LayoutError       the parallel layout doesn't fit the model or the world
├── CheckpointError   a committed checkpoint is damaged or can't be read
└── FencedError       a newer attempt has taken over: this one must stop
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


class FencedError(TrainerError):
    pass
