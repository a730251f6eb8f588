"""What an engine's container downloads before vLLM starts, counted at a real S3 server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.httpsession import URLLib3Session

from sea_devcluster.s3 import S3Server
from sea_runtime.rollout import base_model, engine
from sea_runtime.rollout.settings import Settings
from sea_runtime.wire.weights import ModelReply

pytestmark = pytest.mark.component


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of all GET requests of this process."""
    found: list[str] = []
    send = URLLib3Session.send

    def counted(self: URLLib3Session, request: Any) -> Any:
        if request.method == "GET":
            found.append(request.url)
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", counted)
    return found


@pytest.fixture
def start(
    base_folder: Path, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bool], list[str]]:
    """Starts a pod's engine up to vLLM; returns vLLM's arguments."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", **s3.client_arguments())
    for file in base_folder.iterdir():
        client.upload_file(str(file), "runs", f"start/base/{file.name}")

    def command(empty: bool) -> list[str]:
        reply = ModelReply(
            url="s3://runs/start/base",
            name="tiny",
            precision="float32",
            context_length=64,
            tensor_parallel=1,
            expert_parallel=False,
            empty=empty,
        )
        monkeypatch.setattr(base_model, "await_model", lambda *_: reply)
        settings = Settings("http://c", "t", "pod", "127.0.0.1", "rollout", "policy", 0, tmp_path)
        program, _ = engine.command(settings)
        return program

    return command


def test_no_weights_are_downloaded_where_a_version_exists(
    start: Callable[[bool], list[str]], gets: list[str], tmp_path: Path
) -> None:
    """The same pod's disk then lacks them for an engine that needs the base, and gets them."""
    folder = tmp_path / "engine-model"
    program = start(True)
    assert program[program.index("--load-format") + 1] == "dummy"
    assert any("config.json" in url for url in gets)
    assert not any("safetensors" in url for url in gets)
    assert not list(folder.glob("*.safetensors"))

    assert "--load-format" not in start(False)
    assert any("model.safetensors" in url for url in gets)
    assert list(folder.glob("*.safetensors"))

    # Once there, they stay, and an engine that starts empty reads nothing at all.
    gets.clear()
    start(True)
    assert gets == []
