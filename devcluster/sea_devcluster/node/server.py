"""The kubelet API as far as `kubectl logs` needs it, over HTTPS on the node's address."""

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from .config import NodeConfig
from .kube_json import Json, micro_timestamp
from .logs import ContainerLog
from .pod_worker import PodWorker

FindPod = Callable[[str, str], PodWorker | None]
REFUSED = (
    "The devcluster's node agent doesn't implement exec, attach and port-forward: read the logs "
    "with `kubectl logs`, or reach the pod's address directly from this machine."
)


@dataclass(frozen=True)
class LogQuery:
    """PodLogOptions as a kubelet receives them."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None


def parse(query: Mapping[str, str], now: datetime) -> LogQuery:
    """Parses the query string; ValueError for an invalid number."""
    since = None
    if "sinceSeconds" in query:
        since = now - timedelta(seconds=int(query["sinceSeconds"]))
    elif "sinceTime" in query:
        since = datetime.fromisoformat(query["sinceTime"])
    return LogQuery(
        follow=query.get("follow") in {"true", "1"},
        previous=query.get("previous") in {"true", "1"},
        timestamps=query.get("timestamps") in {"true", "1"},
        tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
        since=since,
        limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
    )


def select(lines: Sequence[bytes], query: LogQuery) -> bytes:
    """The bytes to send for stored lines (`TIMESTAMP TEXT`)."""
    if query.since is not None:
        # Timestamps of one format in UTC sort as text.
        start = micro_timestamp(query.since).encode()
        lines = [line for line in lines if line.split(b" ", 1)[0] >= start]
    if query.tail_lines is not None:
        lines = lines[-query.tail_lines :] if query.tail_lines else []
    content = b"".join(render(line, query) for line in lines)
    return content if query.limit_bytes is None else content[: query.limit_bytes]


def render(line: bytes, query: LogQuery) -> bytes:
    """One stored line as the client wants it."""
    return (line if query.timestamps else line.partition(b" ")[2]) + b"\n"


class KubeletServer:
    """Serves `/containerLogs` and `/healthz`, and refuses the rest with a sentence."""

    def __init__(self, config: NodeConfig, find: FindPod, now: Callable[[], datetime]) -> None:
        self.port = config.kubelet_port
        self._config = config
        self._find = find
        self._now = now
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Starts to listen; `port` is then the actual port, even if it was configured as 0."""
        application = web.Application(middlewares=[self._authenticate])
        application.router.add_get("/healthz", _healthz)
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for verb in ("exec", "attach", "portForward", "run", "cri"):
            application.router.add_route("*", f"/{verb}/{{rest:.*}}", _refuse)
        self._runner = web.AppRunner(
            application,
            # Short: followers of a log would hold the agent's end.
            shutdown_timeout=0.5,
            access_log=None,
            # A client that follows a silent container's log and disconnects must not be waited for.
            # By default aiohttp lets the handler of a closed connection run on.
            handler_cancellation=True,
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self._config.address, self._config.kubelet_port, ssl_context=self._tls()
        )
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._config.cert_file, self._config.key_file)
        context.load_verify_locations(self._config.ca_file)
        # Optional: /healthz is for everyone, `_authenticate` asks for it elsewhere.
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    @web.middleware
    async def _authenticate(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        if not certificate and request.path != "/healthz":
            message = "Show a client certificate of the cluster's CA (kube-apiserver's is enough)."
            raise web.HTTPUnauthorized(text=message)
        return await handler(request)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        try:
            query = parse(request.query, self._now())
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"The log options can't be read: {error}") from error
        worker = self._find(where["namespace"], where["pod"])
        if worker is None:
            message = f"Pod {where['namespace']}/{where['pod']} isn't on this node."
            raise web.HTTPNotFound(text=message)
        if where["container"] not in _container_names(worker.pod):
            message = f"Pod {where['pod']} has no container {where['container']!r}."
            raise web.HTTPNotFound(text=message)
        log = worker.log_of(where["container"])
        run = log.latest_run()
        if run is not None and query.previous and not worker.waits_to_restart(where["container"]):
            run -= 1
        if run is None or not log.exists(run):
            kind = "previous terminated container" if query.previous else "container"
            message = f"{kind} {where['container']!r} in pod {where['pod']!r} has no logs (yet)"
            raise web.HTTPBadRequest(text=message)
        return await _send(request, log, run, query)


async def _send(
    request: web.Request, log: ContainerLog, run: int, query: LogQuery
) -> web.StreamResponse:
    """Sends stored lines, then, if requested, new ones until the run ends."""
    following = query.follow and log.live and run == log.run
    # No await between subscribing and reading: no line is lost or sent twice.
    queue = log.follow() if following else None
    stored = select(log.read(run), query)
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    try:
        await response.write(stored)
        left = None if query.limit_bytes is None else query.limit_bytes - len(stored)
        while queue is not None and (left is None or left > 0):
            line = await queue.get()
            if line is None:
                break
            content = render(line, query)[:left]
            await response.write(content)
            left = None if left is None else left - len(content)
    except ConnectionError:
        return response
    finally:
        if queue is not None:
            log.unfollow(queue)
    await response.write_eof()
    return response


def _container_names(pod: Json) -> set[str]:
    spec = pod["spec"]
    return {one["name"] for one in [*(spec.get("initContainers") or []), *spec["containers"]]}


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _refuse(_request: web.Request) -> web.Response:
    return web.Response(status=501, text=REFUSED)
