"""`make bench-env`: how fast an environment answers, and what an open episode costs.

    make bench-env DATA=../shared/tau2      tau2-bench's databases where that folder has them
    make bench-env DATA=                    generated databases of size LARGE

Without DATA it is SEA_TAU2_DATA, or the folder shared/tau2 next to the checkout if it exists.

1,000 episodes are open over one shared database, each with its own customer, and each call is of
the next episode in turn, as in a rollout worker. Every second episode has already written. All
calls go through `Environment.call` and return text. Rates are per CPU second of one core, the
median of several rounds. `tasks/s` are the same reads with each episode an asyncio task that
yields after every call. A reset opens a fresh episode. `bytes/idle` is the growth that tracemalloc
measures when 1,000 episodes are opened, divided by 1,000.

Human-readable rows come first; the last line is one JSON object, about retail.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from env_calls import CUSTOMERS, Call, Customer

from sea_data.formats import tau2
from sea_env.domains import registry
from sea_env.domains.base import Domain, Environment
from sea_env.domains.database import Database
from sea_env.domains.database_generator import NoGeneratorError, Size, generate_database

EPISODES = 1000
ROUNDS = 7
RESETS = 20_000
_COLUMNS = ("reads/s", "tasks/s", "writes/s", "resets/s", "bytes/idle")
_KEYS = {
    "read_calls_per_s": "reads/s",
    "write_calls_per_s": "writes/s",
    "resets_per_s": "resets/s",
    "bytes_per_idle_episode": "bytes/idle",
}
Opened = list[tuple[Environment, Customer]]


def main() -> None:
    given = _arguments()
    print(f"{EPISODES} open episodes, one core, median of {ROUNDS} rounds; bytes by tracemalloc")
    print(f"{'domain':<10}{'database':<12}" + "".join(f"{name:>12}" for name in _COLUMNS))
    found = {name: _row(name, given.data) for name in CUSTOMERS if name in registry.names()}
    print(json.dumps({key: found["retail"][column] for key, column in _KEYS.items()}))


def _row(name: str, data: Path | None) -> dict[str, int]:
    try:
        return measured(name, data)
    except NoGeneratorError as error:
        print(f"{name:<10}not measured: {error}", flush=True)
        return {}


def measured(name: str, data: Path | None) -> dict[str, int]:
    """Measures one domain and prints its row."""
    domain = registry.get(name)
    source, database = _database(domain, data)
    customers = list(itertools.islice(CUSTOMERS[name](database), EPISODES))
    found = {
        "reads/s": _rate(lambda: _timed_reads(domain, database, customers)),
        "tasks/s": _rate(lambda: _timed_tasks(domain, database, customers)),
        "writes/s": _rate(lambda: _timed_writes(domain, database, customers)),
        "resets/s": _rate(lambda: _timed_resets(domain, database)),
        "bytes/idle": _idle_bytes(domain, database),
    }
    numbers = "".join(f"{found[column]:>12,}" for column in _COLUMNS)
    print(f"{name:<10}{source:<12}{numbers}", flush=True)
    return found


def _database(domain: Domain, data: Path | None) -> tuple[str, Database]:
    folder = None if data is None else data / domain.name
    if folder is not None and tau2.find(folder, "db") is not None:
        return "tau2-bench", tau2.database(folder, domain)
    return "generated", generate_database(domain, Size.LARGE, 0).load(domain)


def _open(domain: Domain, database: Database, customers: Sequence[Customer]) -> Opened:
    """1,000 fresh episodes; if there are fewer customers, several episodes share one."""
    return [
        (domain.open(database), customer)
        for customer in itertools.islice(itertools.cycle(customers), EPISODES)
    ]


def _half_written(opened: Opened) -> None:
    for environment, customer in opened[::2]:
        _call(environment, customer.writes[0])


def _in_turn(calls: Sequence[Sequence[tuple[Environment, Call]]]) -> list[tuple[Environment, Call]]:
    """The first call of every episode, then the second of every episode, and so on."""
    turns = itertools.zip_longest(*calls)
    return [call for turn in turns for call in turn if call is not None]


def _timed_reads(
    domain: Domain, database: Database, customers: Sequence[Customer]
) -> tuple[int, float]:
    opened = _open(domain, database, customers)
    _half_written(opened)
    return _timed(_in_turn([[(env, call) for call in who.reads] for env, who in opened]))


def _timed_writes(
    domain: Domain, database: Database, customers: Sequence[Customer]
) -> tuple[int, float]:
    opened = _open(domain, database, customers)
    return _timed(_in_turn([[(env, call) for call in who.writes] for env, who in opened]))


def _timed(calls: Sequence[tuple[Environment, Call]]) -> tuple[int, float]:
    """How many calls, and their CPU seconds."""
    begin = time.process_time()
    for environment, call in calls:
        _call(environment, call)
    return len(calls), time.process_time() - begin


def _timed_tasks(
    domain: Domain, database: Database, customers: Sequence[Customer]
) -> tuple[int, float]:
    opened = _open(domain, database, customers)
    _half_written(opened)

    async def episode(environment: Environment, customer: Customer) -> None:
        for call in customer.reads:
            _call(environment, call)
            await asyncio.sleep(0)

    async def together() -> float:
        begin = time.process_time()
        async with asyncio.TaskGroup() as group:
            for environment, customer in opened:
                group.create_task(episode(environment, customer))
        return time.process_time() - begin

    return sum(len(who.reads) for _, who in opened), asyncio.run(together())


def _call(environment: Environment, call: Call) -> None:
    name, arguments, requestor = call
    result = environment.call(name, arguments, requestor)
    if result.error:
        raise SystemExit(f"{name}({arguments}) must succeed in this benchmark: {result.content}")


def _timed_resets(domain: Domain, database: Database) -> tuple[int, float]:
    begin = time.process_time()
    for _ in range(RESETS):
        domain.open(database)
    return RESETS, time.process_time() - begin


def _rate(timed: Callable[[], tuple[int, float]]) -> int:
    rates = [count / seconds for count, seconds in (timed() for _ in range(ROUNDS))]
    return round(statistics.median(rates))


def _idle_bytes(domain: Domain, database: Database) -> int:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    opened: list[Any] = [domain.open(database) for _ in range(EPISODES)]
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return round((after - before) / len(opened))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the environments on one core.")
    parser.add_argument(
        "--data", type=Path, help="folder with tau2-bench's retail/, airline/, telecom/ (db.*)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
