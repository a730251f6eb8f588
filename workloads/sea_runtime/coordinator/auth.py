"""The job's token on every call but the kubelet's probes."""

import hmac

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

OPEN_PATHS = frozenset({"/healthz", "/readyz"})


def guard(token: str) -> Middleware:
    """Middleware that lets nobody in without `Authorization: Bearer <token>`."""
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        if request.path not in OPEN_PATHS and not hmac.compare_digest(given, wanted):
            message = "This call needs the job's token as 'Authorization: Bearer ...'."
            return web.json_response({"error": message}, status=401)
        return await handler(request)

    return check
