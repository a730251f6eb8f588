"""The world that tasks are made in: a database, its policy, and the files that go with the rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sea_api.v1alpha1.domains import file_name
from sea_data.formats import tau2
from sea_env.domains.base import Domain
from sea_env.domains.database import Database, DatabaseError
from sea_env.domains.database_generator import Size, generate_database


@dataclass(frozen=True)
class World:
    """One domain's world."""

    domain: Domain
    database: Database
    system_prompt: str
    db_path: str
    """Of the rows, relative to the data root."""
    files: Mapping[str, bytes]
    """What the rows refer to, by path below the data root: databases and the policy."""

    def tidy(self) -> None:
        """Forgets expected end states: each task is checked once, and there may be a million."""
        memo = self.database.memo
        for key in [key for key in memo if key[0] in (self.domain.name, "initial")]:
            del memo[key]


def fingerprint(found: Sequence[World]) -> str:
    """Sixteen hex digits that depend on every file of the worlds."""
    whole = hashlib.sha256()
    for world in found:
        for path, body in sorted(world.files.items()):
            whole.update(f"{path} {hashlib.sha256(body).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def of_folder(domain: Domain, folder: Path) -> list[World]:
    """A user's folder in tau2-bench's layout; raises DatabaseError or RowError."""
    source = tau2.find(folder, "db")
    if source is None:
        raise DatabaseError(
            f"The folder {folder} has no db.json or db.toml: point --data at a domain's folder."
        )
    policy = tau2.policy(folder) if domain.policy_file else None
    user = tau2.find(folder, "user_db")
    data = (source.name, source.read_bytes())
    return [build(domain, data, policy, (user.name, user.read_bytes()) if user else None)]


def made(domain: Domain, count: int, size: Size, seed: int) -> list[World]:
    """`count` worlds of our own making; raises NoGeneratorError if the domain generates none."""
    return [_made(domain, size, seed, number, count) for number in range(count)]


def _made(domain: Domain, size: Size, seed: int, number: int, count: int) -> World:
    found = generate_database(domain, size, seed + number).files()
    user = found.get("user_db.json")
    return build(
        domain,
        ("db.json", found["db.json"].encode()),
        found["policy.md"],
        ("user_db.json", user.encode()) if user else None,
        part=f"{number:03}" if count > 1 else "",
    )


def build(
    domain: Domain,
    data: tuple[str, bytes],
    policy: str | None,
    user: tuple[str, bytes] | None = None,
    part: str = "",
) -> World:
    """From file names and bytes. The files lie in a folder of the domain's own, and its `part`."""
    folder = f"databases/{file_name(domain.name)}{'/' if part else ''}{part}"
    kept = {f"{folder}/{name}": body for name, body in ((data, user) if user else (data,))}
    if policy is not None and domain.policy_file is not None:
        kept[f"{folder}/{domain.policy_file}"] = policy.encode()
    database = domain.parse(data[1], data[0], user[1] if user else None)
    prompt = domain.system_prompt(policy)
    return World(domain, database, prompt, f"{folder}/{data[0]}", kept)
