"""The database that tasks are made on, with its policy and the files that the rows refer to."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sea_api.v1alpha1.domains import file_name
from sea_data.formats import tau2
from sea_env.domains import initial_state
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_env.domains.database_generator import Size, generate_database


@dataclass(frozen=True)
class DatabaseFile:
    """A file's name, whose suffix tells JSON from TOML, and its content."""

    name: str
    body: bytes


@dataclass(frozen=True)
class SourceDatabase:
    """One database of a domain."""

    domain: Domain
    database: Database
    system_prompt: str
    db_path: str
    """`db_path` of the rows, relative to the data root."""
    files: Mapping[str, bytes]
    """Databases and policy, by path below the data root."""

    @classmethod
    def parse(
        cls,
        domain: Domain,
        data: DatabaseFile,
        policy: str | None,
        user: DatabaseFile | None = None,
        part: str = "",
    ) -> "SourceDatabase":
        """The files' paths are `databases/<domain>/<part>/<name>`; raises DatabaseError."""
        folder = f"databases/{file_name(domain.name)}{'/' if part else ''}{part}"
        kept = {f"{folder}/{file.name}": file.body for file in ((data, user) if user else (data,))}
        if policy is not None and domain.policy_file is not None:
            kept[f"{folder}/{domain.policy_file}"] = policy.encode()
        database = domain.parse(data.body, data.name, user.body if user else None)
        prompt = domain.system_prompt(policy)
        return cls(domain, database, prompt, f"{folder}/{data.name}", kept)

    @classmethod
    def of_folder(cls, domain: Domain, folder: Path) -> "SourceDatabase":
        """A user's folder in tau2-bench's layout; raises DatabaseError or RowError."""
        data = tau2.find(folder, "db")
        if data is None:
            raise DatabaseError(
                f"The folder {folder} has no db.json or db.toml: point --data at a domain's folder."
            )
        policy = tau2.policy(folder) if domain.policy_file else None
        user = tau2.find(folder, "user_db")
        return cls.parse(domain, _read(data), policy, _read(user) if user else None)

    @classmethod
    def generated(cls, domain: Domain, size: Size, seed: int, part: str = "") -> "SourceDatabase":
        """A generated database; raises NoGeneratorError if the domain ships no generator."""
        found = generate_database(domain, size, seed).files()
        user = found.get("user_db.json")
        return cls.parse(
            domain,
            DatabaseFile("db.json", found["db.json"].encode()),
            found["policy.md"],
            DatabaseFile("user_db.json", user.encode()) if user else None,
            part,
        )

    def forget_end_states(self) -> None:
        """Drops cached end states: each task is checked once, and a run may have a million."""
        memo = self.database.memo
        for key in [key for key in memo if key[0] in (self.domain.name, "initial")]:
            del memo[key]


def generate(domain: Domain, count: int, size: Size, seed: int) -> list[SourceDatabase]:
    """`count` databases with consecutive seeds; raises NoGeneratorError."""
    parts = [f"{number:03}" if count > 1 else "" for number in range(count)]
    return [
        SourceDatabase.generated(domain, size, seed + number, part)
        for number, part in enumerate(parts)
    ]


def fingerprint(sources: Sequence[SourceDatabase]) -> str:
    """Sixteen hex digits that depend on every file of the databases."""
    whole = hashlib.sha256()
    for source in sources:
        # Sorted: the fingerprint must not depend on the order in which files were found.
        for path, body in sorted(source.files.items()):
            whole.update(f"{path} {hashlib.sha256(body).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def initial_database(
    domain: Domain, database: Database, state: initial_state.InitialState | None
) -> Database:
    """As `initial_state.begin`, but shares the source's indices. Raises InitialStateError.

    Rollouts open an initial state once for many episodes. Here each task has an initial state of
    its own, and an index over five hundred customers would be built for each.
    """
    found = initial_state.begin(domain, database, state)
    if found is not database and not (state or {}).get("initialization_data"):
        # Indices cover what no function of the domain changes (`State.indexed`): only
        # initialization data could make them wrong.
        for key, known in database.memo.items():
            if key[0] == "index":
                found.memo.setdefault(key, known)
    return found


def _read(path: Path) -> DatabaseFile:
    return DatabaseFile(path.name, path.read_bytes())
