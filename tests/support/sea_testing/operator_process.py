"""`python -m sea_operator` as a process of its own, its log lines kept."""

import asyncio
import json
import os
import signal
import sys
import urllib.request

from sea_devcluster.ports import free_ports


class Operator:
    """One operator process."""

    def __init__(self, kubeconfig, namespace, identity):
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.identity = identity
        self.port = free_ports(("127.0.0.1",), 1)[0]
        self.process = None
        self.lines = []

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sea_operator",
            "--namespace",
            self.namespace,
            "--lease-namespace",
            self.namespace,
            "--identity",
            self.identity,
            "--health-port",
            str(self.port),
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self):
        async for line in self.process.stderr:
            self.lines.append(line.decode())

    def health(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=120) as answer:
            return json.loads(answer.read())

    async def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        if self.process.returncode is None:
            self.process.send_signal(how)
        code = await asyncio.wait_for(self.process.wait(), 120)
        await self._reader
        return code
