"""The workaround for kopf's comparisons, which fails once kopf needs it no longer."""

import asyncio
from typing import Any

import kopf
from kopf._cogs.structs.ephemera import Memo
from kopf._cogs.structs.references import Resource
from kopf._core.engines.indexing import OperatorIndexers
from kopf._core.reactor.inventory import ResourceMemories
from kopf._core.reactor.processing import process_resource_event

from sea_api.v1alpha1.job import GROUP, PLURAL, VERSION
from sea_operator.kopf_watch import registry, settings

JOB: dict[str, Any] = {"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": {"a": 1}}


class Counting(kopf.AnnotationsDiffBaseStorage):
    """kopf's own storage; counts the states that it is asked to build."""

    built = 0

    def build(self, **rest: Any) -> kopf.BodyEssence:
        self.built += 1
        return super().build(**rest)


async def handed_over(ours: kopf.OperatorSettings) -> list[Any]:
    """What the handler of one event hands over."""
    found: list[Any] = []
    await process_resource_event(
        lifecycle=kopf.lifecycles.all_at_once,
        indexers=OperatorIndexers(),
        registry=registry(found.append),
        settings=ours,
        memories=ResourceMemories(),
        memobase=Memo(),
        resource=Resource(GROUP, VERSION, PLURAL, namespaced=True, preferred=True),
        raw_event={"type": "MODIFIED", "object": JOB},
        event_queue=asyncio.Queue(),
    )
    return found


async def test_events_come_without_comparisons() -> None:
    assert len(await handed_over(settings())) == 1


async def test_kopf_compares_versions_even_if_no_handler_asks_for_it() -> None:
    """If this fails, kopf has learned it: remove `kopf_diffs.py`."""
    ours, counting = settings(), Counting()
    ours.persistence.diffbase_storage = counting
    await handed_over(ours)
    assert counting.built == 1
