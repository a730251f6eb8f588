"""Telecom's task generator: one complaint per call, caused by one to three faults."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sea_data.synthesis.candidate import Candidate, DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import Plan, ToolMode
from sea_data.synthesis.procedural.goals import Goal, write_dialogue, write_scenario
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_data.synthesis.procedural.telecom.faults import (
    DATA,
    MMS,
    SERVICE,
    SPEED,
    CustomerCall,
    Fault,
    Record,
)
from sea_data.synthesis.source_database import initial_database
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.tasks.task import Assertion

_MAX_TRIES = 100
_ABROAD = 0.3
_SPEED_MBPS = 200


@dataclass(frozen=True)
class _Complaint:
    """What the customer notices of faults of a kind, and when it is satisfied."""

    request: str
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

_KINDS: Sequence[tuple[Mapping[str, Fault], _Complaint]] = (
    (SERVICE, _NO_SERVICE),
    (DATA, _NO_DATA),
    (SPEED, _SLOW_DATA),
    (MMS, _NO_PICTURES),
)
_FAULTS: Mapping[str, Fault] = {**SERVICE, **DATA, **SPEED, **MMS}


class TelecomTaskGenerator:
    """`TaskGenerator` of telecom: goals are faults, and the gravest kind is the complaint."""

    goals: Sequence[str] = tuple(_FAULTS)
    max_goals = 3

    def __init__(self, domain: Domain, database: Database) -> None:
        self._domain = domain
        self._database = database
        tables = database.agent
        # Builds the index of the source once; initial databases share it (`initial_database`).
        domain.open(database).call("get_customer_by_phone", {"phone_number": ""})
        self._plans, self._bills = tables["plans"], tables["bills"]
        self._lines = [
            (customer, tables["lines"][line])
            for customer in tables["customers"].values()
            for line in customer["line_ids"]
            if tables["lines"][line]["status"] == "Active"
        ]

    def fits(self, goals: Sequence[str]) -> bool:
        """All different, with one way to repair them: roaming is broken in only one place."""
        roaming = sum(goal.startswith("roaming") for goal in goals)
        access_point = sum(goal in {"apn_broken", "mms_server"} for goal in goals)
        return len(set(goals)) == len(goals) and roaming <= 1 and access_point <= 1

    def generate(self, plan: Plan, rng: random.Random) -> Candidate:
        faults = sorted((_FAULTS[goal] for goal in plan.goals), key=lambda one: one.rank)
        call = self._choose_customer(plan, faults, rng)
        state = {"initialization_actions": call.faults}
        database = initial_database(self._domain, self._database, state)
        return self._play(DialogueBuilder(self._domain.open(database)), call, faults, plan, state)

    def _choose_customer(
        self, plan: Plan, faults: Sequence[Fault], rng: random.Random
    ) -> CustomerCall:
        """A line that can have these faults, with the faults injected; raises NoCandidateError."""
        reason = "the database has no active line"
        for _ in range(_MAX_TRIES if self._lines else 0):
            customer, line = rng.choice(self._lines)
            bills = [self._bills[bill] for bill in customer["bill_ids"] if bill in self._bills]
            phrasing = Phrasing(plan.style, rng)
            call = CustomerCall(
                customer, line, self._plans[line["plan_id"]], bills, plan.mode, phrasing
            )
            wanted = {one.abroad for one in faults} - {None}
            call.abroad = wanted == {True} or (not wanted and rng.random() < _ABROAD)
            try:
                _break(call, faults)
                return call
            except NoCandidateError as error:
                reason = str(error)
        raise NoCandidateError(f"For {' + '.join(plan.goals)}, {reason}.")

    def _play(
        self,
        dialogue: DialogueBuilder,
        call: CustomerCall,
        faults: Sequence[Fault],
        plan: Plan,
        state: Mapping[str, Any],
    ) -> Candidate:
        complaint = next(c for kind, c in _KINDS if any(goal in kind for goal in plan.goals))
        # The customer notices the other kinds only once the complaint is repaired, so the
        # assertions of all kinds must hold.
        kinds = [c for kind, c in _KINDS if any(goal in kind for goal in plan.goals)]

        def resolve(dialogue: DialogueBuilder) -> str:
            for fault in faults:
                fault.repair(call, dialogue)
            for kind in kinds:
                call.ask_user_to_run(dialogue, kind.check)
            return "I am glad that it works again."

        notes = [kind.content for kind in kinds] + [t.note for t in faults if t.note]
        also = "".join(f"; and to {kind.request}" for kind in kinds[1:])
        goal = Goal(complaint.request + also, resolve, note=" ".join(dict.fromkeys(notes)))
        scenario = write_scenario("telecom", call.phrasing, [goal], _known(call))
        found = write_dialogue(dialogue, call.phrasing, [goal], lambda d: _greet(d, call), scenario)
        assertions = [
            Assertion(name, arguments, "user")
            for kind in kinds
            for name, arguments in kind.assertions
        ]
        return Candidate(
            purpose=found.purpose,
            scenario=scenario,
            actions=found.actions,
            messages=found.messages,
            assertions=assertions,
            initial_state=state,
            basis=("ENV_ASSERTION",),
        )


def _break(call: CustomerCall, faults: Sequence[Fault]) -> None:
    """Sets the initial state: the phone's owner, its place, and the faults, gravest last."""
    call.add_fault(
        "set_user_info", name=call.customer["full_name"], phone_number=call.line["phone_number"]
    )
    if call.abroad:
        call.add_fault("set_user_location", abroad=True)
        if not any(fault.abroad for fault in faults):
            call.add_fault("enable_roaming", side="assistant", **call.of_line)
            call.add_fault("turn_roaming_on")
    for fault in reversed(faults):
        fault.inject(call)


def _greet(dialogue: DialogueBuilder, call: CustomerCall) -> None:
    customer = call.customer
    if call.mode is ToolMode.GIVEN:
        dialogue.agent("I am happy to help. What is your phone number?")
        dialogue.user(f"It is {call.line['phone_number']}.")
        dialogue.call("get_customer_by_phone", phone_number=call.line["phone_number"])
    else:
        dialogue.agent("I am happy to help. May I have your full name and date of birth?")
        dialogue.user(f"I am {customer['full_name']}, born on {customer['date_of_birth']}.")
        dialogue.call(
            "get_customer_by_name", full_name=customer["full_name"], dob=customer["date_of_birth"]
        )
        _find_line(dialogue, call)


def _find_line(dialogue: DialogueBuilder, call: CustomerCall) -> None:
    """The agent goes through the customer's lines to the one that the call is about."""
    dialogue.agent("Which phone number is it about?")
    dialogue.user(f"It is about {call.line['phone_number']}.")
    lines = list(call.customer["line_ids"])
    for line in lines[: lines.index(call.line["line_id"]) + 1]:
        dialogue.call("get_details_by_id", id=line)


def _known(call: CustomerCall) -> str:
    customer: Record = call.customer
    place = "You are abroad in France." if call.abroad else "You are at home in the US."
    return (
        f"You are {customer['full_name']}, born on {customer['date_of_birth']}, with phone number "
        f"{call.line['phone_number']}. {place}"
    )
