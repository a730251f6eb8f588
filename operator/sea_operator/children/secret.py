"""The Secret with the token that the job's pods and the operator know each other by.

Made once with `create`, never applied again: a pass must not rotate what running pods hold.
"""

import base64
import hashlib
from typing import Any

from sea_api.contract import auth_secret
from sea_operator.children.meta import metadata
from sea_operator.observed import Job

KEY = "token"


def auth(job: Job, token: str) -> dict[str, Any]:
    """The Secret to create."""
    encoded = base64.b64encode(token.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(job, auth_secret(job.name), None),
        "type": "Opaque",
        "data": {KEY: encoded},
    }


def token_of(secret: dict[str, Any]) -> str | None:
    """The token of a live Secret, None if it holds none."""
    encoded = secret.get("data", {}).get(KEY)
    return base64.b64decode(encoded).decode() if encoded else None


def token_digest(token: str) -> str:
    """What may be seen of a token: enough to notice that it changed."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]
