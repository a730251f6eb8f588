"""`python -m sea_runtime.coordinator`: serves on the pod's address until SIGTERM."""

import logging
import os
import sys

from aiohttp import web

from sea_api import logs
from sea_runtime.coordinator import app
from sea_runtime.store.s3 import ObjectStore


def main() -> int:
    """Exit code 2 if the environment is incomplete."""
    logs.configure_pod()
    try:
        found = app.from_environment(os.environ)
    except app.SettingsError as error:
        logging.error("%s", error)
        return 2
    # The probe does not retry: `/readyz` reports what the store answers now.
    probe = ObjectStore(retry_timeout=0.0, connect_timeout=2.0, read_timeout=5.0)
    parts = app.Components(found, ObjectStore(), probe)
    # `handler_cancellation`: aiohttp cancels the handler of a caller that has disconnected. Without
    # it a long poll would go on and lease episodes to nobody.
    web.run_app(
        app.with_loops(app.serve(parts, found.token), parts),
        host=found.host,
        port=found.port,
        print=None,
        # Long polls are cut off: with aiohttp's default of 60 s they would outlast the
        # pod's grace period of 30 s.
        shutdown_timeout=3.0,
        handler_cancellation=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
