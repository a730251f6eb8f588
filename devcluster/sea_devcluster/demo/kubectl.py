"""The demo's hands on the API server: kubectl for what users would type, a client for polling."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sea_devcluster.demo.errors import DemoError

TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True)
class Kubectl:
    """kubectl of one cluster; every call has a time-out and fails with kubectl's own words."""

    binary: str
    kubeconfig: Path | None

    def run(self, *args: str, stdin: str | None = None) -> str:
        """Standard output of `kubectl ARGS`; raises DemoError with kubectl's message."""
        command = [self.binary, *args]
        if self.kubeconfig is not None:
            # A devcluster's address is new each time: in ~/.kube/cache its folder would stay.
            cache = self.kubeconfig.with_name("kubectl-cache")
            command[1:1] = ["--kubeconfig", str(self.kubeconfig), "--cache-dir", str(cache)]
        try:
            done = subprocess.run(
                command,
                check=False,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
        except FileNotFoundError:
            raise DemoError(f"kubectl was not found at {self.binary}; run `make setup`.") from None
        except subprocess.TimeoutExpired:
            raise DemoError(
                f"`kubectl {' '.join(args)}` gave no answer for {TIMEOUT_SECONDS:.0f} s."
            ) from None
        if done.returncode != 0:
            raise DemoError(f"`kubectl {' '.join(args)}` failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *files: Path) -> None:
        """Server-side apply of files."""
        for file in files:
            self.run("apply", "--server-side", "--force-conflicts", "-f", str(file))

    def apply_object(self, manifest: dict[str, Any]) -> None:
        self.run(
            "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(manifest)
        )

    def get(self, *args: str) -> Any:
        """Parsed JSON of `kubectl get ARGS`."""
        return json.loads(self.run("get", *args, "-o", "json"))
