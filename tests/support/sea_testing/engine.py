"""The engine container's program as a process, with a model that is on disk already."""

import contextlib
import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from sea_api.contract import ENGINE_PORT
from sea_runtime.rollout import engine_args
from sea_runtime.wire.weights import ModelReply
from sea_testing.waiting import HANG_S, wait_for

CONTEXT = 512


@dataclass
class EngineProcess:
    """Ends with `kill`; `log` has what it said."""

    folder: Path
    host: str
    log: Path
    variables: dict[str, str]
    program: tuple[str, ...] = ("-m", "sea_runtime.rollout.server")
    """What Python runs; it takes vLLM's arguments."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{ENGINE_PORT}"

    def start(
        self, tensor_parallel: int = 1, *, empty: bool = False, returns_experts: bool = False
    ) -> None:
        reply = ModelReply(
            url="",
            name="tiny",
            precision="float32",
            context_length=CONTEXT,
            tensor_parallel=tensor_parallel,
            expert_parallel=False,
        )
        place = engine_args.Placement(
            self.folder, self.host, gpus=0, empty=empty, returns_experts=returns_experts
        )
        arguments = engine_args.arguments(reply, engine_args.read_config(self.folder), place)
        arguments.remove("--disable-log-stats")  # `generated_tokens` reads them
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, *arguments],
                env=engine_args.environment(os.environ | self.variables, place),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self) -> None:
        wait_for("the engine's health", self._is_up)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=60):
                return True
        except OSError:
            return False

    def generated_tokens(self) -> int:
        """How many tokens the engine has generated so far, for all requests."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=HANG_S) as reply:
            text = reply.read().decode()
        counts = re.findall(r"^vllm:generation_tokens_total\S* (\S+)$", text, re.MULTILINE)
        assert counts, "vLLM's metrics have no count of generated tokens"
        return int(sum(map(float, counts)))

    def kill(self) -> None:
        """As a container's death: every process of it, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait(HANG_S)
