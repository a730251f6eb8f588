"""What goes wrong for a moment after a CRD is applied, and the patience for it.

Kubernetes 1.36 answers requests for the new resource with 429 ("initializing") for about a second
after it is Established, and until its conditions are first written they are null, on which
`kubectl wait` ends with an error instead of waiting (kubernetes/kubernetes#66439). Discovery and
the handler follow the condition by themselves, so for a moment the new kind may be unknown.
"""

import time
from collections.abc import Callable

PASSING = (
    "initializing",
    ".status.conditions accessor error",
    "no matches for kind",
    "could not find the requested resource",
)
ATTEMPTS = 120
PAUSE_SECONDS = 0.5


def patiently(step: Callable[[], object], pause: Callable[[float], None] = time.sleep) -> None:
    """Runs `step` again while it fails by one of these; any other error is raised at once."""
    for _ in range(ATTEMPTS - 1):
        try:
            step()
        except Exception as error:
            if not any(words in str(error) for words in PASSING):
                raise
            pause(PAUSE_SECONDS)
        else:
            return
    step()
