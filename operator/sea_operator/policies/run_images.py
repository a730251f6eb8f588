"""Which images really ran, by digest: what a tag meant on the day of the run. Pure."""

from collections.abc import Mapping

from sea_api.contract import ROLES, role_label
from sea_operator.observed import Observed, Pod

MAX_IMAGE = 1024
"""Bound of an image in the CRD."""


def images(observed: Observed) -> Mapping[str, str]:
    """By role: of its newest pod that runs, else what the status remembers.

    Engines' workers usually have the engine's image; one of another has an entry `ROLE-worker`.
    """
    found = dict(observed.job.status.images or {})
    for role in ROLES:
        # By name where several were made in the same second: another order would be another status.
        pods = sorted(observed.of_role(role), key=lambda pod: (pod.created, pod.name))
        newest = next((pod for pod in reversed(pods) if pod.images), None)
        if newest is not None:
            found.pop(f"{role_label(role)}-worker", None)
            found |= _of_pod(role_label(role), newest)
    return found


def _of_pod(role: str, pod: Pod) -> dict[str, str]:
    by_container = {name: image[:MAX_IMAGE] for name, image in pod.images}
    worker = by_container.pop("worker", None)
    main = next(iter(by_container.values()), None)
    found = {role: main} if main else {}
    return found | ({f"{role}-worker": worker} if worker and main and worker != main else {})
