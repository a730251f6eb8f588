"""Program for tau2-bench's own Python: answers `tau2_parity.py`, one JSON object per line.

It imports nothing of this repository. Requests name a `domain` and an `op`:

    data      {}                               where tau2-bench has the domain's files
    tools     {}                               names of its tools by side
    play      {episodes: [[[side, tool, arguments]]], task}  results and final databases of each
    time      {episodes: [[task, [[side, tool, arguments]]]], each}   CPU seconds of all calls; with
              `each` by tool, [number of calls, seconds], instead
    reward    {task, messages, basis}          its reward of a dialogue
    talk      {script, steps, errors}          how its orchestrator ends a scripted dialogue
"""

import gc
import json
import os
import pickle
import sys
import time
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its import asks the network otherwise

from loguru import logger

logger.remove()  # a log line per call would be most of its time

# ruff: noqa: E402 - the lines above must come before its import

from tau2.data_model.message import AssistantMessage, ToolCall, ToolMessage, UserMessage
from tau2.data_model.simulation import SimulationRun, TerminationReason
from tau2.data_model.tasks import RewardType, Task
from tau2.environment.db import DB
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.orchestrator.orchestrator import Orchestrator
from tau2.registry import registry
from tau2.utils import DATA_DIR

_LOADED: dict[tuple[Any, str], bytes] = {}
_load = DB.load.__func__


def _load_once(cls: Any, path: str) -> Any:
    """Its environments read and validate their files again each time: a second for airline's."""
    known = _LOADED.get((cls, path))
    if known is None:
        known = _LOADED[cls, path] = pickle.dumps(_load(cls, path))
    gc.disable()  # it would look through a million new objects again and again
    try:
        return pickle.loads(known)  # noqa: S301 - our own bytes
    finally:
        gc.enable()


DB.load = classmethod(_load_once)


def environment(domain: str, task: Any = None) -> Any:
    found = registry.get_env_constructor(domain)()
    for kit in (found.tools, found.user_tools):
        # Telecom's `break_vpn` writes into a default of the class: an earlier task would break the
        # VPN of all later ones.
        if hasattr(kit, "default_vpn_details"):
            kit.default_vpn_details = type(kit).default_vpn_details.model_copy(deep=True)
    state = Task.model_validate(task).initial_state if task else None
    if state is not None:
        found.set_state(
            state.initialization_data, state.initialization_actions, state.message_history or []
        )
    found.sync_tools()
    return found


def call(found: Any, side: str, tool: str, arguments: Any) -> list[Any]:
    made = ToolCall(id="0", name=tool, arguments=arguments, requestor=side)
    try:
        answer = found.get_response(made)
    except Exception as error:  # it lets some out: what a dialogue would die of
        return [f"{type(error).__name__}: {error}", "raised"]
    return [answer.content, bool(answer.error)]


def dump(kit: Any) -> Any:
    return None if kit is None or kit.db is None else kit.db.model_dump(mode="json")


def play(domain: str, episodes: Any, task: Any = None) -> Any:
    found = []
    for calls in episodes:
        opened = environment(domain, task)
        results = [call(opened, *one) for one in calls]
        found.append([results, dump(opened.tools), dump(opened.user_tools)])
    return found


def timed(domain: str, episodes: Any, each: bool = False) -> dict[str, Any]:
    total = 0.0
    tools: dict[str, list[Any]] = {}
    for task, calls in episodes:
        opened = environment(domain, task)
        begin = time.process_time()
        if each:
            _timed_each(opened, calls, tools)
        else:
            for one in calls:
                call(opened, *one)
        total += time.process_time() - begin
    return {"seconds": total, "tools": tools}


def _timed_each(opened: Any, calls: Any, tools: dict[str, list[Any]]) -> None:
    for one in calls:
        begin = time.perf_counter()
        call(opened, *one)
        known = tools.setdefault(one[1], [0, 0.0])
        known[1] += time.perf_counter() - begin
        known[0] += 1


def dialogue_of(given: Any) -> list[Any]:
    """Our dialogue in its message types, with an id per call."""
    found: list[Any] = []
    waiting: list[Any] = []
    for index, one in enumerate(given):
        if one["role"] == "tool":
            made = waiting.pop(0)
            found.append(
                ToolMessage(
                    id=made.id, role="tool", content=one["content"], requestor=made.requestor
                )
            )
            continue
        kind = AssistantMessage if one["role"] == "assistant" else UserMessage
        calls = [
            ToolCall(id=f"{index}-{n}", requestor=one["role"], **each)
            for n, each in enumerate(one.get("tool_calls") or [])
        ]
        waiting += calls
        found.append(
            kind(role=one["role"], content=one["content"] or None, tool_calls=calls or None)
        )
    return found


def reward(domain: str, task: Any, messages: Any) -> Any:
    ended = SimulationRun(
        id="0",
        task_id="0",
        start_time="",
        end_time="",
        duration=0.0,
        termination_reason=TerminationReason.USER_STOP,
        messages=dialogue_of(messages),
    )
    checked = Task.model_validate(task)
    if checked.evaluation_criteria is not None:
        judged = checked.evaluation_criteria.reward_basis
        checked.evaluation_criteria.reward_basis = [
            one for one in judged if one is not RewardType.NL_ASSERTION
        ]
    try:
        found = evaluate_simulation(ended, checked, EvaluationType.ALL, False, domain)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return found.reward


class Scripted:
    """Agent or user that says what is written, whatever it hears."""

    def __init__(self, turns: list[Any]) -> None:
        self._turns = turns

    def get_init_state(self, message_history: Any = None) -> Any:
        return None

    def set_seed(self, seed: int) -> None:
        pass

    def stop(self, message: Any, state: Any) -> None:
        pass

    def is_stop(self, message: Any) -> bool:
        return False

    def generate_next_message(self, message: Any, state: Any) -> Any:
        (turn,) = dialogue_of([self._turns.pop(0)])
        return turn, state


def talk(domain: str, script: Any, steps: int, errors: int) -> Any:
    sides = {
        role: Scripted([one for one in script if one["role"] == role])
        for role in ("assistant", "user")
    }
    task = Task.model_validate({"id": "0", "user_scenario": {"instructions": "x"}})
    run = Orchestrator(
        domain,
        sides["assistant"],
        sides["user"],
        environment(domain),
        task,
        max_steps=steps,
        max_errors=errors,
    )
    try:
        found = run.run()
    except IndexError:  # the script ran out: neither a limit nor a farewell ended it
        return None
    return found.termination_reason.value


def tools(domain: str) -> dict[str, list[str]]:
    found = environment(domain)
    kits = {"assistant": found.tools, "user": found.user_tools}
    return {side: list(kit.get_tools()) if kit is not None else [] for side, kit in kits.items()}


OPS: dict[str, Any] = {
    "tools": tools,
    "data": lambda domain: str(DATA_DIR / "tau2" / "domains" / domain),
    "play": play,
    "time": timed,
    "reward": reward,
    "talk": talk,
}


def main() -> None:
    for line in sys.stdin:
        given = json.loads(line)
        answer = OPS[given.pop("op")](**given)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
