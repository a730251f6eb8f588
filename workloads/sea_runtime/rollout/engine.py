"""`python -m sea_runtime.rollout.engine`: the engine container of rollout and user pods.

Waits for the base model, downloads it, then becomes vLLM's server (`server`, by exec). Where a
weight version can be fetched, no weights are downloaded: the engine starts empty, and serves
nothing until the worker container of the same pod (`worker`) has brought it to that version.
"""

import logging
import os
import sys
import uuid

from sea_api import logs
from sea_env.tasks import order
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.rollout import base_model, engine_args
from sea_runtime.rollout.settings import Settings, from_environment
from sea_runtime.store.s3 import ObjectStore

_log = logging.getLogger(__name__)


def command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Program and variables of this pod's engine; what it loads is on disk when this returns."""
    reply = base_model.await_model(
        CoordinatorClient(settings.coordinator_url, settings.token), settings.stream
    )
    _log.info("Base model of stream %s: %s", settings.stream, reply.url)
    target = base_model.fetch(
        ObjectStore(),
        reply.url,
        settings.data_dir / "engine-model",
        weights=not reply.empty,
        dequantize_to=reply.precision if reply.dequantize else "",
    )
    place = engine_args.Placement(
        folder=target,
        host=settings.address,
        gpus=settings.gpus,
        max_sequences=settings.max_episodes,
        empty=reply.empty,
        returns_experts=settings.router_replay,
        # Of this start of this pod in this stage: two engines with one seed would answer requests
        # without a seed of their own identically.
        seed=order.sampling_seed(settings.pod, uuid.uuid4().hex, reply.stage),
    )
    arguments = engine_args.arguments(reply, engine_args.read_config(target), place)
    program = [sys.executable, "-m", "sea_runtime.rollout.server", *arguments]
    return program, engine_args.environment(os.environ, place)


def main() -> None:
    logs.configure_pod(container="engine")
    program, variables = command(from_environment())
    _log.info("Starting %s", " ".join(program))
    # execve drops what is still in Python's buffers.
    sys.stdout.flush()
    os.execve(program[0], program, variables)  # noqa: S606 - same pod, arguments are a list


if __name__ == "__main__":
    main()
