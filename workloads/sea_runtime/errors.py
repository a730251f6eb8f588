"""The root of what can go wrong in the pods of a job; each error is next to its raiser.

    RuntimeFailure
    |- client.calls.CoordinatorError
    |- coordinator.errors.CoordinatorFailure
    |- trainer.errors.TrainerError
    |- parallel.hf_config.ModelError, parallel.parallel_layout.LayoutError
    `- what the rollout pods raise

An object store's failures are `sea_data.object_store.StoreError`, since files are read and written
without pods, too.
"""

from sea_api.errors import SeaError


class RuntimeFailure(SeaError):  # noqa: N818 - RuntimeError is Python's
    """A failure in a pod; the message is a sentence for the user."""
