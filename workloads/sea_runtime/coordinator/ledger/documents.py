"""Single facts of the ledger, each a JSON document under a name."""

from typing import TypeVar

from pydantic import BaseModel

from sea_runtime.coordinator.ledger.database import Database

EPOCH = "epoch"
"""Part of every lease id; a restored ledger gets a new one, so that no old id comes back."""

Model = TypeVar("Model", bound=BaseModel)


def text(db: Database, name: str) -> str | None:
    found: str | None = db.value("SELECT body FROM documents WHERE name = ?", name)
    return found


def put_text(db: Database, name: str, body: str) -> None:
    # Small and rare, and others rely on each of them: spec, world, failure, epoch.
    with db.transaction(durable=True):
        db.run("INSERT OR REPLACE INTO documents (name, body) VALUES (?, ?)", name, body)


def get(db: Database, name: str, model: type[Model]) -> Model | None:
    body = text(db, name)
    return None if body is None else model.model_validate_json(body)


def put(db: Database, name: str, value: BaseModel) -> None:
    put_text(db, name, value.model_dump_json(by_alias=True))


def delete(db: Database, name: str) -> None:
    with db.transaction(durable=True):
        db.run("DELETE FROM documents WHERE name = ?", name)
