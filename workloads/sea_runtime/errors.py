"""The base of what can go wrong in the pods of a job; each error is next to its raiser.

    RuntimeFailure
    |- client.calls.CoordinatorError
    `- what coordinator, trainer and rollout pods raise

An object store's failures are `sea_data.object_store.StoreError`, since files are read and written
without pods, too.
"""

from sea_api.errors import SeaError


class RuntimeFailure(SeaError):  # noqa: N818 (a builtin has the other name)
    """A failure in a pod; the message is a sentence for the user."""
