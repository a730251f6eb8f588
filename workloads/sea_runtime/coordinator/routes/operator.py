"""The operator's two calls, and the kubelet's probes."""

from aiohttp import web

from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_runtime.coordinator import adopt, state
from sea_runtime.coordinator.routes.common import body, core_of, done


async def get_state(request: web.Request) -> web.Response:
    text = state.assemble(core_of(request)).model_dump_json(by_alias=True)
    return web.Response(text=text, content_type="application/json")


async def put_spec(request: web.Request) -> web.Response:
    adopt.want(core_of(request), await body(request, CoordinatorSpec))
    return done()


async def healthz(_: web.Request) -> web.Response:
    return web.json_response({"alive": True})


async def readyz(request: web.Request) -> web.Response:
    ready = core_of(request).store_reachable
    return web.json_response({"storeReachable": ready}, status=200 if ready else 503)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/state", get_state),
        web.put("/v1/spec", put_spec),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
    ]
