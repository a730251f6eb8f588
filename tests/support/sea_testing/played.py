"""An OpenAI-compatible server that plays every agent of a synthesis team by script.

Its tasks and dialogues come from a domain's task generator, so they are right; what a plan's
guidance says is then broken. Now and then it answers 500, a proxy's page, or a poem.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sea_data.synthesis.agents import checkers, function_worker, planner, task_worker
from sea_data.synthesis.agents.model_client import parse
from sea_data.synthesis.plan import Plan, Style, ToolMode
from sea_data.synthesis.procedural.task_generators import open_task_generator
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.tokens.messages import calls_of

FUNCTION = """\
def verify(episode):
    for side in ("agent", "user"):
        if episode[side + "_changes"] != episode["expected_" + side + "_changes"]:
            return 0, side + " database: not as expected"
    return 1, "both databases are as expected"
"""
LENIENT = 'def verify(episode):\n    return True, "whatever"\n'
STRICT = FUNCTION.replace(
    "    return 1,",
    "    talk = [m for m in episode['messages'] if m['role'] == 'assistant' and m['content']]\n"
    "    if len(talk) > 1:\n        return 0, 'too many words'\n    return 1,",
)


def draft(goal: str, style: str, guidance: str) -> dict[str, Any]:
    return {"goals": [goal], "mode": "given", "style": style, "guidance": guidance}


PLANS = [
    draft("cancel an order", "terse", "fine"),
    draft("Cancelling orders", "terse", "Fine!"),
    draft("wrong task", "polite", "breaks the task"),
    draft("slip", "chatty", "breaks the dialogue"),
    draft("lenient", "unsure", "writes a lenient function"),
    draft("strict", "impatient", "writes a strict function"),
    draft("forgetful", "polite", "forgets an action"),
]
"""One plan of each kind of fault; the second says the first one's in other words."""
Fault = Callable[[dict[str, Any]], Awaitable[web.Response | None]]
"""What a request gets instead of its answer, if anything."""
_MARK = re.compile(r"\[task (\d+)\]")


@dataclass
class Part:
    """One task with its dialogue."""

    script: list[dict[str, Any]]
    task: dict[str, Any]
    function: str


@dataclass(frozen=True)
class Play:
    """A domain's plot."""

    domain: str
    goals: tuple[str, ...]
    """Of the generated task."""
    slip: str
    """Part of the name of the tool whose call a dialogue that slips leaves out."""
    look: str
    """A tool without arguments that the worker tries first."""


RETAIL = Play("retail", ("cancel",), "cancel", "list_all_product_types")
TELECOM = Play("telecom", ("airplane_mode",), "toggle_airplane", "get_nothing")


class PlayedModel:
    """Knows a role by the system prompt, a task by the mark in its texts."""

    def __init__(self, source: SourceDatabase, play: Play, plans: list[dict[str, Any]]) -> None:
        self._generator = open_task_generator(source.domain, source.database)
        self._play, self.plans = play, plans
        self._rng = random.Random(0)
        self._parts: list[Part] = []
        self._known: dict[str, Part] = {}
        self.asked: Counter[str] = Counter()
        self.down = False
        self.fault: Fault | None = None
        self.users_calls = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.fault is not None and (failed := await self.fault(body)) is not None:
            return failed
        self.asked["all"] += 1
        if self.down or self.asked["all"] % 17 == 0:
            return web.Response(status=500, text="overloaded")
        if self.asked["all"] % 23 == 0:
            return web.Response(text="<html>a proxy's page</html>")
        said = self.answer(body)
        message = {"role": "assistant", **({"content": said} if isinstance(said, str) else said)}
        return web.json_response(
            {"choices": [{"message": message}], "usage": {"total_tokens": 100}}
        )

    def answer(self, body: dict[str, Any]) -> str | dict[str, Any]:
        messages = body["messages"]
        system = messages[0]["content"]
        roles = {
            planner.PLANNER: self._plan,
            planner.REFLECTION: self._reflect,
            task_worker.WORKER: self._work,
            function_worker.VERIFIER: self._verify,
            checkers.TASK_CHECKER: self._check_task,
            checkers.DIALOGUE_CHECKER: self._check_dialogue,
        }
        for role, play in roles.items():
            if system.startswith(role):
                self.asked[role] += 1
                nonsense = self.asked[role] % 5 == 2
                return "I would rather write a poem." if nonsense else play(messages)
        if "customer who talks to" in system:
            assert bool(body.get("tools")) == (self._play.domain == "telecom")
            return self._user(system, messages)
        return self._agent(messages)

    def _plan(self, _: list[dict[str, Any]]) -> str:
        return f"<think>some</think>```json\n{json.dumps({'plans': self.plans})}\n```"

    def _reflect(self, messages: list[dict[str, Any]]) -> str:
        told = messages[1]["content"]
        plan = parse(told.partition("The plan ")[2].partition(" led to")[0])
        assert "- task (" in told or "- trajectory (" in told
        self.asked[f"reflection on {plan['guidance']}: {told.partition('- ')[2]}"] += 1
        second = "second try" in plan["guidance"]
        stubborn = plan["goals"] == ["wrong task"] and not second
        plan["guidance"] = "breaks the task on the second try" if stubborn else "careful now"
        return json.dumps(plan)

    def _work(self, messages: list[dict[str, Any]]) -> str:
        if len(messages) == 2:
            return json.dumps({"call": {"name": self._play.look, "arguments": {}}})
        key = messages[1]["content"]
        if key not in self._known:
            plan = key.partition("Some records")[0]
            self._known[key] = self._part(plan)
            self._parts.append(self._known[key])
        return json.dumps({"task": self._known[key].task})

    def task_for(self, plan: str) -> dict[str, Any]:
        """A task as the task worker writes it."""
        return self._part(plan).task

    def _part(self, plan: str) -> Part:
        mark = f"[task {len(self._parts)}]"
        shape = Plan("p", self._play.domain, self._play.goals, ToolMode.GIVEN, Style.TERSE)
        made = self._generator.generate(shape, self._rng)
        script = [dict(message) for message in made.messages]
        script[0]["content"] += f" {mark}"
        if "breaks the dialogue" in plan:
            place = next(i for i, m in enumerate(script) if self._slips(m))
            del script[place : place + 2]
        actions = [
            {"name": a.name, "arguments": dict(a.arguments), "requestor": a.requestor}
            for a in made.actions
        ]
        if "breaks the task" in plan:
            actions = [a for a in actions if self._play.slip not in a["name"]]
            actions.append({"name": "no_such_tool", "arguments": {}})
        elif "forgets an action" in plan:
            actions = [a for a in actions if self._play.slip not in a["name"]]
        instructions = dict(made.scenario["instructions"])
        instructions["reason_for_call"] += f" {mark}"
        task = {**instructions, "communicate_info": [], "actions": actions}
        if made.initial_state:
            task["initial_actions"] = made.initial_state["initialization_actions"]
            task["assertions"] = [
                {"func_name": a.func_name, "arguments": dict(a.arguments)} for a in made.assertions
            ]
        functions = {"lenient function": LENIENT, "strict function": STRICT}
        found = [code for words, code in functions.items() if words in plan]
        return Part(script, task, found[0] if found else FUNCTION)

    def _slips(self, message: dict[str, Any]) -> bool:
        return any(self._play.slip in call["name"] for call in calls_of(message))

    def _of(self, text: str) -> Part:
        found = _MARK.search(text)
        assert found is not None
        return self._parts[int(found[1])]

    def _verify(self, messages: list[dict[str, Any]]) -> str:
        return f"Here it is:\n```python\n{self._of(messages[1]['content']).function}```"

    def _check_task(self, _: list[dict[str, Any]]) -> str:
        return json.dumps({"ok": True, "reason": ""})

    def _check_dialogue(self, messages: list[dict[str, Any]]) -> str:
        good = "reaches the expected end state" in messages[1]["content"]
        verdict = {"ok": good, "blame": "trajectory", "reason": "" if good else "It slipped."}
        return f"My verdict: {json.dumps(verdict)}"

    def _user(self, system: str, messages: list[dict[str, Any]]) -> str | dict[str, Any]:
        script = self._of(system).script
        spoken = sum(message["role"] == "assistant" for message in messages)
        turn = [m for m in script if m["role"] == "user"][spoken]
        calls = [{"function": call, "type": "function", "id": "x"} for call in calls_of(turn)]
        self.users_calls += len(calls)
        return {"content": None, "tool_calls": calls} if calls else str(turn["content"])

    def _agent(self, messages: list[dict[str, Any]]) -> str:
        script = self._of(messages[1]["content"]).script
        spoken = sum(message["role"] == "assistant" for message in messages)
        turn = [m for m in script if m["role"] == "assistant"][spoken]
        calls = [f"<tool_call>{json.dumps(call)}</tool_call>" for call in calls_of(turn)]
        return "\n".join(calls) or str(turn["content"])
