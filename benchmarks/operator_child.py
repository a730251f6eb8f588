"""A process that `operator_load.py` measures: the operator, or a kopf operator that does nothing.

Run as a program, so that it may be the operator of another checkout, with that one's Python.
"""

import argparse
import asyncio
import contextlib
import logging
import os
from typing import Any

NAMESPACE = "bench"


def operator(coordinators: str) -> None:
    """The real operator; each job's coordinator is a path of one server."""
    # As `python -m sea_operator` begins; another checkout's may not have it.
    with contextlib.suppress(ImportError):
        from sea_operator.kube import lean_library

        lean_library.install()

    from sea_operator.main import serve
    from sea_operator.settings import Settings

    def resolve(job: Any, pods: Any) -> str | None:
        name = f"{job.name}-coordinator-0"
        has_address = any(pod.name == name and pod.ip for pod in pods)
        return f"{coordinators}/{job.name}" if has_address else None

    with contextlib.suppress(ImportError):
        from sea_operator import gc_pauses

        gc_pauses.install()
    logging.basicConfig(level=logging.WARNING)
    settings = Settings(
        namespaces=(NAMESPACE,),
        identity="bench",
        lease_namespace=NAMESPACE,
        health_port=int(os.environ["HEALTH_PORT"]),
    )
    asyncio.run(serve(settings, resolve=resolve))


def noop(server: str, ca: str, token: str) -> None:
    """kopf with one handler that does nothing, on the jobs alone."""
    import kopf

    logging.getLogger("kopf").setLevel(logging.WARNING)
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server, ca_path=ca, token=token)

    @kopf.on.event("sea-operator.io", "v1alpha1", "seatrainingjobs", registry=handlers)
    async def nothing(**_: Any) -> None:
        return None

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    asyncio.run(
        kopf.operator(registry=handlers, settings=settings, namespaces=[NAMESPACE], standalone=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["operator", "noop"])
    parser.add_argument("arguments", nargs="+")
    given = parser.parse_args()
    (operator if given.what == "operator" else noop)(*given.arguments)


if __name__ == "__main__":
    main()
