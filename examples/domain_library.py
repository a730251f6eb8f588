"""A domain of your own: a library's desk, complete with tools, policy and generated databases.

docs/adding-a-domain.md explains it; tests/env/domains/test_own_domain.py installs and runs it.
"""

from pydantic import BaseModel

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.database_generator import GeneratedDatabase, Size, seeded_random
from sea_env.domains.overlay import Record
from sea_env.domains.state import State, finder
from sea_env.domains.tool_domain import ToolDomain
from sea_env.domains.toolkit import tool

POLICY = """\
You work at a library's desk. Ask for the card number first. A member may hold three books at once.
Lend only books that nobody holds. Ask for a yes before you change anything.
"""
MAX_BOOKS = 3
WORDS = ("Tides", "Lamps", "Orchards", "Bridges", "Winters", "Maps", "Letters", "Engines")


class Member(BaseModel):
    card: str
    loans: list[str]


class Book(BaseModel):
    book: str
    title: str
    holder: str | None = None


class LibraryTables(BaseModel):
    members: dict[str, Member]
    books: dict[str, Book]


find_member = finder("members", "There is no member {}")
find_book = finder("books", "There is no book {}")


@tool(Kind.READ)
def get_member(state: State, card: str) -> Record:
    """Name and loans of a member."""
    return find_member(state, card)


@tool(Kind.READ)
def find_books(state: State, title: str) -> list[Record]:
    """Books whose title has these words."""
    return [b for _, b in state.agent.items("books") if title.lower() in b["title"].lower()]


@tool(Kind.WRITE)
def lend_book(state: State, card: str, book: str) -> Record:
    """Lend a book to a member. Ask for an explicit confirmation (yes) first."""
    if len(find_member(state, card)["loans"]) >= MAX_BOOKS:
        raise ToolError(f"The member holds {MAX_BOOKS} books already")
    if find_book(state, book)["holder"]:
        raise ToolError("Somebody holds the book")
    state.agent.edit("members", card)["loans"].append(book)
    state.agent.edit("books", book)["holder"] = card
    return find_book(state, book)


@tool(Kind.WRITE)
def return_book(state: State, book: str) -> Record:
    """Take a book back."""
    holder = find_book(state, book)["holder"]
    if not holder:
        raise ToolError("Nobody holds the book")
    state.agent.edit("members", holder)["loans"].remove(book)
    state.agent.edit("books", book)["holder"] = None
    return find_book(state, book)


@tool(Kind.READ)
def is_free(state: State, book: str) -> bool:
    """Whether nobody holds a book."""
    return not find_book(state, book)["holder"]


class Library(ToolDomain):
    name, policy_file, agent_model = "library", "library_policy.md", LibraryTables
    tools = (get_member, find_books, lend_book, return_book)
    assertion_tools = (is_free,)


def generate_database(size: Size, seed: int) -> GeneratedDatabase:
    rng = seeded_random("library", size, seed)
    members, books = {}, {}
    for i in range({"small": 10, "medium": 200, "large": 2000}[size]):
        lent = rng.random() < 0.5
        title = f"{rng.choice(WORDS)} and {rng.choice(WORDS)}"
        members[f"M{i}"] = {"card": f"M{i}", "loans": [f"B{i}"] if lent else []}
        books[f"B{i}"] = {"book": f"B{i}", "title": title, "holder": f"M{i}" if lent else None}
    return GeneratedDatabase({"members": members, "books": books}, {}, POLICY)
