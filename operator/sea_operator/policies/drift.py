"""Which children to apply and which to remove, so that the world is as the spec says."""

from sea_operator.kube.kinds import SERVICE, STATEFUL_SET
from sea_operator.matching import contains
from sea_operator.observed import Object, Observed, is_leaving, is_ours
from sea_operator.plan import Removal

KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE)}


def due(observed: Observed, wanted: list[Object]) -> list[Object]:
    """Children that are missing or don't say what they should; leaving ones must leave first."""
    return [child for child in wanted if _is_due(observed, child)]


def strays(observed: Observed, wanted: list[Object]) -> list[Removal]:
    """The job's own children that its spec no longer asks for."""
    names = {(child["kind"], child["metadata"]["name"]) for child in wanted}
    return [
        Removal(KINDS[kind], name, live["metadata"]["uid"])
        for (kind, name), live in observed.children.items()
        if (kind, name) not in names
        and is_ours(live, observed.job)
        and not is_leaving(live, observed.job)
    ]


def _is_due(observed: Observed, child: Object) -> bool:
    live = observed.children.get((child["kind"], child["metadata"]["name"]))
    if live is None:
        return True
    return not is_leaving(live, observed.job) and not contains(live, child)
