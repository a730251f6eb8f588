"""A trainer-like process that publishes weight versions over NIXL."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from sea_runtime.wire.weights import WeightVersion
from sea_testing.waiting import HANG_S

_PROGRAM = Path(__file__).parent / "publisher_program.py"


class Publisher:
    """Two ranks' worth of NIXL sources in another process, as a trainer would be."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def publish(self, version: int, **request: Any) -> WeightVersion:
        """Publishes the base model with noise of the version; also saves the tensors."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        body = {"version": version, "save": str(self.weights(version)), **request}
        self.process.stdin.write(json.dumps(body) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("VERSION "):
                return WeightVersion.model_validate_json(line.removeprefix("VERSION "))
        raise AssertionError("the publisher ended early")

    def weights(self, version: int) -> Path:
        return self.folder / f"v{version}.safetensors"

    def shard(self, version: int, rank: int) -> Path:
        """The bytes that a rank serves of a version."""
        return self.folder / f"v{version}.safetensors.shard{rank}"

    def stop(self) -> None:
        """It hangs: NIXL itself waits for it forever."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(HANG_S)
