"""How the kubelet learns whether a container started, lives and serves.

Start-up may take ten minutes, an hour on GPUs (weights of hundreds of GB); after it, liveness is
lenient because a busy machine isn't a dead one, and a restarted container costs far more than a
late one.
"""

from typing import Any

Probes = dict[str, Any]


def probes(
    port: int, alive: str = "/healthz", ready: str = "/readyz", patience: int = 600
) -> Probes:
    """The three probes of a container that serves HTTP on `port` after `patience` s at most."""
    return {
        "startupProbe": _get(alive, port, period=2, timeout=5, failures=patience // 2),
        "livenessProbe": _get(alive, port, period=10, timeout=10, failures=12),
        "readinessProbe": _get(ready, port, period=2, timeout=5, failures=3),
    }


def _get(path: str, port: int, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "successThreshold": 1,
        "failureThreshold": failures,
    }
