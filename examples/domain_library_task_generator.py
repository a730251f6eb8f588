"""Makes tasks of the library without a model: `task_generator.py` next to its domain's module.

The dialogue builder really runs the tools, so expected actions and dialogue fit the database.
"""

import random
from collections.abc import Sequence

from sea_data.synthesis.candidate import Candidate, DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import Plan, ToolMode
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.overlay import Record
from sea_env.users.base import Signal

MAX_BOOKS = 3


class LibraryTaskGenerator:
    goals: Sequence[str] = ("borrow", "return")
    max_goals = 1

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain, self._database = domain, database

    def fits(self, goals: Sequence[str]) -> bool:
        return len(goals) == 1

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        borrows = plan.goals[0] == "borrow"
        member, book = self._pair(borrows, rng)
        named = f"book {book['book']}" if plan.mode is ToolMode.GIVEN else f"'{book['title']}'"
        request = f"{'borrow' if borrows else 'return'} {named}"
        dialogue = DialogueBuilder(self._domain.open(self._database))
        dialogue.user(f"Hello, I want to {request}.")
        dialogue.agent("What is your card number?")
        dialogue.user(f"My card number is {member['card']}.")
        dialogue.call("get_member", card=member["card"])
        if plan.mode is not ToolMode.GIVEN:
            dialogue.call("find_books", title=book["title"])
        dialogue.confirm(f"You want to {request}: shall I do that now?", "Yes, please.")
        if borrows:
            dialogue.call("lend_book", card=member["card"], book=book["book"])
        else:
            dialogue.call("return_book", book=book["book"])
        dialogue.agent("Done. Goodbye.")
        dialogue.user(Signal.STOP)
        known = f"Your card number is {member['card']}. It is the book {book['book']}."
        instructions = {"reason_for_call": f"You want to {request}.", "known_info": known}
        return Candidate(
            purpose=request,
            scenario={"instructions": {"domain": self._domain.name, **instructions}},
            actions=dialogue.actions,
            messages=dialogue.messages,
            basis=("DB",),
        )

    def _pair(self, borrows: bool, rng: random.Random) -> tuple[Record, Record]:
        """A member and a book for which the request can be granted."""
        members, books = self._database.agent["members"], self._database.agent["books"]
        free = [book for book in books.values() if bool(book["holder"]) != borrows]
        able = [m for m in members.values() if len(m["loans"]) < MAX_BOOKS]
        if not free or not able:
            raise NoCandidateError("Every book is out, or nobody may borrow one.")
        book = rng.choice(free)
        return (rng.choice(able) if borrows else members[book["holder"]]), book


def open_task_generator(domain: Domain, database: Database) -> LibraryTaskGenerator:
    return LibraryTaskGenerator(domain, database)
