"""Where the elastic roles of a job stand: the part of the status that the operator goes on from."""

from pydantic import Field

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.types import Count, Timestamp


class ElasticRole(ApiModel):
    """Where an elastic role stands; the operator goes on from here after a restart."""

    state: str = Field(max_length=32)
    """`Full`: as many pods as the range allows. `Short`: pods are missing, and waited for.
    `Reduced`: goes on with fewer. `Returning`: more run, and are watched for a while. `Growing`:
    the trainer takes them in after a checkpoint. `Idle`: the stage doesn't need the role."""
    size: Count
    """Pods that the role works with; of the trainer, those that hold ranks."""
    asked: Count
    """Pods that its StatefulSet asks for: those beyond `size` show whether there is room."""
    growing_to: Count | None = None
    """Size that the trainer goes to while `Returning` or `Growing`."""
    began_with: Count
    """`replicas` that the size was last set from; an edit of it sets the size again."""
    since: Timestamp
    """When `state` or `asked` last changed."""
    grown: Timestamp | None = None
    """When the role last began to count further pods as its own."""
    shrunk: list[Count] = Field(default=[], max_length=16)
    """When the role became smaller within the last hour, in unix seconds, newest last."""
    message: str = Field(default="", max_length=1024)
    """What was done and why, and what is waited for."""


class ElasticStatus(ApiModel):
    """Sizes of the elastic roles."""

    trainer: ElasticRole | None = None
    """Of `spec.trainer.elastic`."""
    rollout: ElasticRole | None = None
    """Of `spec.rollout.elastic`."""
    user: ElasticRole | None = None
    """Of `spec.userModel.elastic`."""
