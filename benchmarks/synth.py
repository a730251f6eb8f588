"""`make bench-synth`: procedural tasks per second, on one core.

Each task is made by real tool calls, its expected actions and its dialogue run again on fresh
environments, and its verification function is generated and run: all that `sea synth` does except
writing files. The last line is one JSON object `{"tasks_per_s": {domain: number}}`.
"""

import argparse
import json
import os
import time

from sea_data.synthesis import source_database
from sea_data.synthesis.plan import Failure, Item
from sea_data.synthesis.procedural import task_generators
from sea_data.synthesis.procedural.backend import ProceduralBackend, combine_goals
from sea_env.domains import registry
from sea_env.domains.database_generator import Size

_PLANS = 64


def measure(domain: str, seconds: float) -> tuple[float, float, int]:
    """Accepted tasks per second of processor time, seconds to get ready, and failed items."""
    began = time.process_time()
    found = source_database.generate(registry.get(domain), 1, Size.MEDIUM, 0)
    backend = ProceduralBackend(found, 0)
    generator = task_generators.open_task_generator(found[0].domain, found[0].database)
    plans = combine_goals(domain, generator, _PLANS, 0)
    for plan in plans:
        backend.make_now(Item(plan, 0, 0))
    ready = time.process_time() - began
    good = failed = index = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        index += 1
        for plan in plans:
            if isinstance(backend.make_now(Item(plan, 1, index)), Failure):
                failed += 1
            else:
                good += 1
    return good / (time.process_time() - start), ready, failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds per domain (default 5)")
    seconds = parser.parse_args().seconds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rates = {}
    print(f"{'domain':<10}{'tasks/s':>10}{'ready in s':>12}{'failed':>8}")
    for domain in task_generators.names():
        rate, ready, failed = measure(domain, seconds)
        rates[domain] = round(rate, 1)
        print(f"{domain:<10}{rate:>10.1f}{ready:>12.2f}{failed:>8}")
    print(json.dumps({"tasks_per_s": rates}))


if __name__ == "__main__":
    main()
