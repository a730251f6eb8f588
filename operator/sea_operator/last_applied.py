"""What the API server dropped of a job, as far as the file that was applied is known.

It drops unknown fields before anybody sees them. `kubectl apply` and Argo CD leave a copy of what
they were given in an annotation of the job, and that is compared with the CRD here. Pure.
"""

import json
from typing import Any

from sea_api.findings import nulls
from sea_api.unknown_fields import dotted, unknown_fields

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def dropped(last_applied: str | None) -> tuple[str, ...]:
    """A sentence for each field of the applied file that the API server dropped, or defaulted."""
    try:
        manifest: Any = json.loads(last_applied or "null")
    except ValueError:
        return ()  # anybody may write the annotation
    if not isinstance(manifest, dict):
        return ()
    unknown = [f"{dotted(one.path)}: {one.sentence}" for one in unknown_fields(manifest)]
    empty = [
        f"{dotted(('spec', *path))}: it is empty, so its default applies: give it a value"
        for path in nulls(manifest.get("spec", {}))
    ]
    return (*unknown, *empty)
