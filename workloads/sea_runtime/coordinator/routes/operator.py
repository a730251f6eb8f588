"""The operator's two calls, the kubelet's probes, and what benchmarks and the demo read."""

from aiohttp import web

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import timeline
from sea_runtime.coordinator.background import StoreProbe
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.routes.common import body, done
from sea_runtime.coordinator.state import StateReport

STATE = web.AppKey("state", StateReport)
JOB = web.AppKey("job", Job)
LEDGER = web.AppKey("ledger", Ledger)
PROBE = web.AppKey("probe", StoreProbe)


async def get_state(request: web.Request) -> web.Response:
    text = request.app[STATE].assemble().model_dump_json(by_alias=True)
    return web.Response(text=text, content_type="application/json")


async def put_spec(request: web.Request) -> web.Response:
    request.app[JOB].request(await body(request, CoordinatorSpec))
    return done()


async def healthz(_: web.Request) -> web.Response:
    return web.json_response({"alive": True})


async def readyz(request: web.Request) -> web.Response:
    ready = request.app[PROBE].reachable
    return web.json_response({"storeReachable": ready}, status=200 if ready else 503)


async def get_timeline(request: web.Request) -> web.Response:
    return web.json_response(timeline.spans(request.app[LEDGER].db))


async def metrics(request: web.Request) -> web.Response:
    text = timeline.metric_lines(request.app[LEDGER].db)
    return web.Response(text=text, content_type="application/jsonl")


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/state", get_state),
        web.put("/v1/spec", put_spec),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/v1/timeline", get_timeline),
        web.get("/v1/metrics.jsonl", metrics),
    ]
