"""`python -m sea_operator` as a process of its own, its log lines kept."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

from sea_devcluster.ports import free_ports


class Operator:
    """One operator process."""

    def __init__(
        self, kubeconfig: Path, namespace: str, identity: str, *others: str, program: str = ""
    ) -> None:
        """`others`: further namespaces that it serves. `program`: Python that runs before it."""
        self.program = program
        self.kubeconfig = kubeconfig
        self.others = others
        self.namespace = namespace
        self.identity = identity
        self.port = free_ports(("127.0.0.1",), 1)[0]
        self.process: asyncio.subprocess.Process | None = None
        self.lines: list[str] = []

    async def start(self) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"{self.program}\nfrom sea_operator.main import main\nraise SystemExit(main())",
            "--namespace",
            self.namespace,
            *(word for other in self.others for word in ("--namespace", other)),
            "--lease-namespace",
            self.namespace,
            "--identity",
            self.identity,
            "--health-port",
            str(self.port),
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        self.process = process
        self._reader = asyncio.create_task(self._read(process.stderr))
        return self

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            self.lines.append(line.decode())

    def health(self) -> Any:
        return json.loads(self._get("healthz"))

    def metrics(self) -> str:
        """What Prometheus would read."""
        return self._get("metrics")

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=120) as answer:
            text: bytes = answer.read()
        return text.decode()

    async def stop(self, how: int = signal.SIGTERM) -> int | None:
        if self.process is None:
            return None
        if self.process.returncode is None:
            self.process.send_signal(how)
        code = await asyncio.wait_for(self.process.wait(), 120)
        await self._reader
        return code
