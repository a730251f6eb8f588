"""One attempt of a probe: HTTP, TCP or a command in the sandbox; None or what went wrong."""

import asyncio
import contextlib
from collections.abc import Mapping

import aiohttp

from .nsenter import execute
from .probes import ProbeSpec, port_number
from .process import SandboxProcess
from .wire import Json


class Checker:
    """Runs the probes of one container's current run against its pod's address."""

    def __init__(
        self,
        container: Json,
        address: str,
        process: SandboxProcess,
        environment: Mapping[str, str],
        session: aiohttp.ClientSession,
    ) -> None:
        self._container = container
        self._address = address
        self._process = process
        self._environment = environment
        self._session = session

    async def check(self, spec: ProbeSpec) -> str | None:
        """None for success, otherwise a sentence for the Unhealthy event."""
        if "httpGet" in spec.handler:
            return await self._http(spec.handler["httpGet"], spec.timeout)
        if "tcpSocket" in spec.handler:
            return await self._tcp(spec.handler["tcpSocket"], spec.timeout)
        return await self._exec(spec.handler["exec"], spec.timeout)

    async def _http(self, handler: Json, seconds: float) -> str | None:
        port = port_number(self._container, handler["port"])
        host = handler.get("host") or self._address
        scheme = handler.get("scheme", "HTTP").lower()
        url = f"{scheme}://{host}:{port}/{handler.get('path', '/').lstrip('/')}"
        headers = {one["name"]: one["value"] for one in handler.get("httpHeaders") or []}
        try:
            # A kubelet doesn't check a probe's certificate, and takes a redirect for a success.
            async with self._session.get(
                url,
                headers={"User-Agent": "kube-probe/devcluster", **headers},
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
                ssl=False,
            ) as response:
                if response.status < 400:
                    return None
                body = (await response.content.read(200)).decode(errors="replace")
                return f"HTTP probe of {url} answered {response.status}: {body}"
        except TimeoutError:
            return f"HTTP probe of {url} got no answer within {seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"HTTP probe of {url} failed: {error}"

    async def _tcp(self, handler: Json, seconds: float) -> str | None:
        port = port_number(self._container, handler["port"])
        host = handler.get("host") or self._address
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
        except (TimeoutError, OSError) as error:
            return f"TCP probe of {host}:{port} failed: {error or 'timed out'}"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return None

    async def _exec(self, handler: Json, seconds: float) -> str | None:
        pid = self._process.main_pid()
        if pid is None:
            return "the container has no process to run the probe's command beside"
        result = await execute(pid, handler.get("command") or [], self._environment, seconds)
        if result.exit_code == 0:
            return None
        code = "no exit code" if result.exit_code is None else f"exit code {result.exit_code}"
        return f"command of the probe ended with {code}: {result.output}"
