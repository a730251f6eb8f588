"""A domain of one's own: the desk of a library, complete with tools, policy and worlds.

docs/adding-a-domain.md walks through it; tests/env/domains/test_own_domain.py runs it.
"""

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.database import Database, parse_tables, require_tables
from sea_env.domains.environment import State, Toolbox, ToolEnvironment
from sea_env.domains.overlay import Record
from sea_env.domains.prompt import customer_service_prompt
from sea_env.domains.toolkit import tool
from sea_env.domains.worlds import Size, World, generator

POLICY = """\
You work at a library's desk. Ask for the card number first. A member may hold three books at once.
Lend only books that nobody holds. Ask for a yes before you change anything.
"""
MOST_BOOKS = 3
WORDS = ("Tides", "Lamps", "Orchards", "Bridges", "Winters", "Maps", "Letters", "Engines")


def record(state: State, table: str, key: str) -> Record:
    found = state.agent.get(table, key)
    if found is None:
        raise ToolError(f"There is no {table.removesuffix('s')} {key}")
    return found


@tool(Kind.READ)
def get_member(state: State, card: str) -> Record:
    """Name and loans of a member."""
    return record(state, "members", card)


@tool(Kind.READ)
def find_books(state: State, title: str) -> list[Record]:
    """Books whose title has these words."""
    return [b for _, b in state.agent.items("books") if title.lower() in b["title"].lower()]


@tool(Kind.WRITE)
def lend_book(state: State, card: str, book: str) -> Record:
    """Lend a book to a member. Ask for an explicit confirmation (yes) first."""
    if len(record(state, "members", card)["loans"]) >= MOST_BOOKS:
        raise ToolError(f"The member holds {MOST_BOOKS} books already")
    if record(state, "books", book)["holder"]:
        raise ToolError("Somebody holds the book")
    state.agent.edit("members", card)["loans"].append(book)
    state.agent.edit("books", book)["holder"] = card
    return record(state, "books", book)


@tool(Kind.WRITE)
def return_book(state: State, book: str) -> Record:
    """Take a book back."""
    holder = record(state, "books", book)["holder"]
    if not holder:
        raise ToolError("Nobody holds the book")
    state.agent.edit("members", holder)["loans"].remove(book)
    state.agent.edit("books", book)["holder"] = None
    return record(state, "books", book)


TOOLS = (get_member, find_books, lend_book, return_book)


class Library:
    name, tools, user_tools, max_bad_turns = "library", TOOLS, (), 3
    assertions = ("is_free",)
    policy_file = "library_policy.md"
    box = Toolbox(
        agent={one.name: one for one in TOOLS},
        user={},
        assertions={"is_free": lambda state, book: not record(state, "books", book)["holder"]},
    )

    def system_prompt(self, policy: str | None = None) -> str:
        return customer_service_prompt(policy or POLICY, self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        tables = parse_tables(data, name)
        require_tables(tables, ("members", "books"), name)
        return Database(tables)

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, self.box)


def make(size: Size, seed: int) -> World:
    rng, count = generator("library", size, seed), {"small": 10, "medium": 200, "large": 2000}[size]
    members: dict[str, Record] = {f"M{i}": {"card": f"M{i}", "loans": []} for i in range(count)}
    books: dict[str, Record] = {}
    for i in range(count):
        holder = f"M{i}" if rng.random() < 0.5 else None
        title = f"{rng.choice(WORDS)} and {rng.choice(WORDS)}"
        books[f"B{i}"] = {"book": f"B{i}", "title": title, "holder": holder}
        if holder:
            members[holder]["loans"].append(f"B{i}")
    return World({"members": members, "books": books}, {}, POLICY)
