"""An export next to training that fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sea_runtime.trainer.checkpoint.periodic_export import Exports
from sea_testing.waiting import wait_for


def test_whatever_ends_an_export_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Nobody asks for its result; safetensors' error of a full disk is no OSError."""

    def full(*_: Any) -> None:
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(Exports, "_write", full)
    context: Any = SimpleNamespace(pod=SimpleNamespace(data_dir=tmp_path))
    commits: Any = SimpleNamespace(run_url="s3://runs/a")
    manifest: Any = SimpleNamespace(stage="rl", step=4)
    exports = Exports(context, commits, tmp_path)
    exports.committed(manifest, 4)
    wait_for("the end", lambda: exports.under_way is None)
    assert "The export of step 4 failed (RuntimeError): No space left on device" in caplog.text
