"""The resource's names, and which names a job may have."""

import re
from typing import Any

from sea_api.v1alpha1.rules import Rule

GROUP = "sea-operator.io"
VERSION = "v1alpha1"
KIND = "SEATrainingJob"
PLURAL = "seatrainingjobs"
SHORT_NAME = "seajob"
MANAGER = f"{GROUP}/operator"
"""Value of `spec.managedBy` for jobs that the operator runs."""

GPU = "nvidia.com/gpu"
"""The resource that `gpusPerPod` requests."""

MAX_NAME = 40
"""A pod's name is a label of at most 63 characters: `<job>-coordinator-0`, larger ordinals too."""
_FORM = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


def _name(job: Any) -> str:
    return str(job.metadata.get("name", "job"))


NAME_LENGTH = Rule(
    cel=f"size(self.metadata.name) <= {MAX_NAME}",
    message=f"metadata.name must have at most {MAX_NAME} characters, since the names of the job's"
    " pods and Services begin with it: choose a shorter one",
    holds=lambda job: len(_name(job)) <= MAX_NAME,
)

NAME_FORM = Rule(
    cel=f"self.metadata.name.matches('{_FORM}')",
    message="metadata.name must be a DNS label that begins with a letter (a-z, 0-9 and -), since"
    " the job's Services begin with it: choose another",
    # Without the anchors: Python's `$` also matches before a line break at the end.
    holds=lambda job: re.fullmatch(_FORM[1:-1], _name(job)) is not None,
)
