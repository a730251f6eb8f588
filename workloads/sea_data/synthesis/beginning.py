"""The database that a task begins with; what the base has indexed is taken over.

Rollouts open a task's initial state once for many episodes; here every task has one of its own, and
an index over five hundred customers would be built for each.
"""

from sea_env.domains import initial_state
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.initial_state import InitialState


def begin(domain: Domain, database: Database, state: InitialState | None) -> Database:
    """As `initial_state.begin`. Raises InitialStateError."""
    found = initial_state.begin(domain, database, state)
    if found is not database and not (state or {}).get("initialization_data"):
        # Indices cover what no function of the domain changes (`State.indexed`); only data could.
        for key, known in database.memo.items():
            if key[0] == "index":
                found.memo.setdefault(key, known)
    return found
