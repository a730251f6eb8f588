"""Telecom's worker: one complaint a call, with one to three faults behind it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.synthesis.beginning import begin
from sea_data.synthesis.desk import Desk
from sea_data.synthesis.plan import Plan, ToolMode
from sea_data.synthesis.procedural import calling
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.telecom.repairs import DATA, MMS, SERVICE, SPEED, Trouble
from sea_data.synthesis.procedural.telecom.scene import Call, Record
from sea_data.synthesis.procedural.voice import Voice
from sea_data.synthesis.proposal import NothingFitsError, Proposal
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.tasks.task import Assertion

_TRIES = 100
_ABROAD = 0.3
_SPEED_MBPS = 200


@dataclass(frozen=True)
class _Complaint:
    """What the customer notices of faults of a kind, and when it is content."""

    wish: str
    content: str
    check: str
    """The user's tool that shows it."""
    assertions: tuple[tuple[str, Mapping[str, Any]], ...]


_NO_SERVICE = _Complaint(
    "get {my} phone to work again, which has shown 'No Service' for hours",
    "You are content when the status bar shows that you have signal.",
    "check_status_bar",
    (("assert_service_status", {"expected_status": "connected"}),),
)
_NO_DATA = _Complaint(
    "get {my} mobile data to work again, which {I} can't use at all",
    "You are content when the speed test says excellent, and with nothing less.",
    "run_speed_test",
    (("assert_mobile_data_status", {"expected_status": True}),),
)
_SLOW_DATA = _Complaint(
    "have {my} mobile data fast again, which are much too slow",
    "You are content when the speed test says excellent, and with nothing less.",
    "run_speed_test",
    (
        (
            "assert_internet_speed",
            {"expected_speed": _SPEED_MBPS, "expected_desc": "excellent"},
        ),
    ),
)
_NO_PICTURES = _Complaint(
    "send picture messages (MMS) again, which {my} phone fails to do",
    "You are content when your phone can send a picture message.",
    "can_send_mms",
    (("assert_can_send_mms", {"expected_status": True}),),
)

_KINDS: Sequence[tuple[Mapping[str, Trouble], _Complaint]] = (
    (SERVICE, _NO_SERVICE),
    (DATA, _NO_DATA),
    (SPEED, _SLOW_DATA),
    (MMS, _NO_PICTURES),
)
_TROUBLES: Mapping[str, Trouble] = {**SERVICE, **DATA, **SPEED, **MMS}


class TelecomWorkshop:
    """`Workshop` of telecom: goals are faults; the complaint is that of the gravest kind."""

    goals: Sequence[str] = tuple(_TROUBLES)
    most_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        tables = database.agent
        # Indexes the base once; tasks take the index over (`beginning`).
        domain.open(database).call("get_customer_by_phone", {"phone_number": ""})
        self._plans, self._bills = tables["plans"], tables["bills"]
        self._lines = [
            (customer, tables["lines"][line])
            for customer in tables["customers"].values()
            for line in customer["line_ids"]
            if tables["lines"][line]["status"] == "Active"
        ]

    def fits(self, goals: Sequence[str]) -> bool:
        """All different, with one way to repair them: roaming is broken in one place only."""
        roaming = sum(goal.startswith("roaming") for goal in goals)
        access_point = sum(goal in {"apn_broken", "mms_server"} for goal in goals)
        return len(set(goals)) == len(goals) and roaming <= 1 and access_point <= 1

    def propose(self, plan: Plan, rng: random.Random) -> Proposal:
        troubles = sorted((_TROUBLES[goal] for goal in plan.goals), key=lambda one: one.rank)
        call = self._cast(plan, troubles, rng)
        state = {"initialization_actions": call.faults}
        database = begin(self._domain, self._database, state)
        return self._play(Desk(self._domain.open(database)), call, troubles, plan, state)

    def _cast(self, plan: Plan, troubles: Sequence[Trouble], rng: random.Random) -> Call:
        """A line that can have these faults."""
        reason = "the database has no active line"
        for _ in range(_TRIES if self._lines else 0):
            customer, line = rng.choice(self._lines)
            bills = [self._bills[bill] for bill in customer["bill_ids"] if bill in self._bills]
            voice = Voice(plan.style, rng)
            call = Call(customer, line, self._plans[line["plan_id"]], bills, plan.mode, voice)
            wanted = {one.abroad for one in troubles} - {None}
            call.abroad = wanted == {True} or (not wanted and rng.random() < _ABROAD)
            try:
                _break(call, troubles)
                return call
            except NothingFitsError as error:
                reason = str(error)
        raise NothingFitsError(f"For {' + '.join(plan.goals)}, {reason}.")

    def _play(
        self,
        desk: Desk,
        call: Call,
        troubles: Sequence[Trouble],
        plan: Plan,
        state: Mapping[str, Any],
    ) -> Proposal:
        complaint = next(c for kind, c in _KINDS if any(goal in kind for goal in plan.goals))
        # What is broken behind the complaint is only seen once that is repaired, so all of the
        # other kinds' assertions must hold too.
        kinds = [c for kind, c in _KINDS if any(goal in kind for goal in plan.goals)]

        def settle(desk: Desk) -> str:
            for trouble in troubles:
                trouble.repair(call, desk)
            for kind in kinds:
                call.have_used(desk, kind.check)
            return "I am glad that it works again."

        notes = [kind.content for kind in kinds] + [t.note for t in troubles if t.note]
        also = "".join(f"; and to {kind.wish}" for kind in kinds[1:])
        errand = Errand(complaint.wish + also, settle, note=" ".join(dict.fromkeys(notes)))
        scenario = calling.scenario("telecom", call.voice, [errand], _known(call))
        found = calling.call(desk, call.voice, [errand], lambda d: _greet(d, call), scenario)
        assertions = [
            Assertion(name, arguments, "user")
            for kind in kinds
            for name, arguments in kind.assertions
        ]
        return Proposal(
            purpose=found.purpose,
            scenario=scenario,
            actions=found.actions,
            messages=found.messages,
            assertions=assertions,
            initial_state=state,
            basis=("ENV_ASSERTION",),
        )


def _break(call: Call, troubles: Sequence[Trouble]) -> None:
    """The initial state: whose phone it is, where it is, and what is broken, gravest last."""
    call.breaks(
        "set_user_info", name=call.customer["full_name"], phone_number=call.line["phone_number"]
    )
    if call.abroad:
        call.breaks("set_user_location", abroad=True)
        if not any(trouble.abroad for trouble in troubles):
            call.breaks("enable_roaming", side="assistant", **call.of_line)
            call.breaks("turn_roaming_on")
    for trouble in reversed(troubles):
        trouble.causes(call)


def _greet(desk: Desk, call: Call) -> None:
    customer = call.customer
    if call.mode is ToolMode.GIVEN:
        desk.agent("I am happy to help. What is your phone number?")
        desk.user(f"It is {call.line['phone_number']}.")
        desk.call("get_customer_by_phone", phone_number=call.line["phone_number"])
    else:
        desk.agent("I am happy to help. May I have your full name and date of birth?")
        desk.user(f"I am {customer['full_name']}, born on {customer['date_of_birth']}.")
        desk.call(
            "get_customer_by_name", full_name=customer["full_name"], dob=customer["date_of_birth"]
        )
        _find_line(desk, call)


def _find_line(desk: Desk, call: Call) -> None:
    """The agent goes through the lines to the one that the customer calls about."""
    desk.agent("Which phone number is it about?")
    desk.user(f"It is about {call.line['phone_number']}.")
    lines = list(call.customer["line_ids"])
    for line in lines[: lines.index(call.line["line_id"]) + 1]:
        desk.call("get_details_by_id", id=line)


def _known(call: Call) -> str:
    customer: Record = call.customer
    place = "You are abroad in France." if call.abroad else "You are at home in the US."
    return (
        f"You are {customer['full_name']}, born on {customer['date_of_birth']}, with phone number "
        f"{call.line['phone_number']}. {place}"
    )
