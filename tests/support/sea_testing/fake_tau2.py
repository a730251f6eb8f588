"""A small package with tau2-bench's interface and one domain, `tau2:lamps`."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sea_env.domains import registry

MESSAGE = """
from pydantic import BaseModel
class ToolCall(BaseModel):
    id: str = ""
    name: str
    arguments: dict
    requestor: str = "assistant"
class ToolMessage(BaseModel):
    content: str
    error: bool = False
"""
TASKS = """
from pydantic import BaseModel
class EnvFunctionCall(BaseModel):
    env_type: str
    func_name: str
    arguments: dict
class InitializationData(BaseModel):
    agent_data: dict | None = None
    user_data: dict | None = None
"""
REGISTRY = """
import json
from enum import Enum
from pydantic import BaseModel, ConfigDict
from tau2.data_model.message import ToolMessage

class ToolType(Enum):
    READ = "read"
    WRITE = "write"

class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

class Lamps(Strict):
    lamps: dict[str, bool] = {"hall": False}

class Room(Strict):
    seen: dict[str, bool] = {"light": False}

class Tool:
    def __init__(self, name, **arguments):
        properties = {key: {"type": kind} for key, kind in arguments.items()}
        parameters = {"properties": properties, "required": list(arguments), "type": "object"}
        function = {"name": name, "description": f"Does {name}.", "parameters": parameters}
        self.name, self.openai_schema = name, {"type": "function", "function": function}

class Kit:
    def __init__(self, db):
        self.db = db
    def tool_type(self, name):
        return self.types[name]

class Desk(Kit):
    types = {"switch": ToolType.WRITE}
    def switch(self, lamp, on):
        if lamp not in self.db.lamps:
            raise ValueError(f"Lamp {lamp} not found")
        self.db.lamps[lamp] = on
        return {"lamp": lamp, "on": on}
    def assert_on(self, lamp):
        return self.db.lamps[lamp]

class Fuse(Strict):
    whole: bool = True

class Guest(Kit):
    types = {"look": ToolType.READ}
    fuse: Fuse = Fuse()
    def break_fuse(self):
        self.fuse.whole = False  # of the class, as telecom's break_vpn
    def assert_fuse(self):
        return self.fuse.whole
    def look(self):
        return "light" if self.db.seen["light"] else "dark"

class Environment:
    def __init__(self, db=None, user_db=None):
        self.tools, self.user_tools = Desk(db or Lamps()), Guest(user_db or Room())
    def get_policy(self):
        return "Switch lamps."
    def get_tools(self):
        return [Tool("switch", lamp="string", on="boolean")]
    def get_user_tools(self):
        return [Tool("look")]
    def sync_tools(self):
        self.user_tools.db.seen["light"] = any(self.tools.db.lamps.values())
    def get_response(self, call):
        kit = self.user_tools if call.requestor == "user" else self.tools
        try:
            if call.name not in kit.types:
                raise ValueError(f"Tool {call.name!r} not found.")
            result = getattr(kit, call.name)(**call.arguments)
            self.sync_tools()
        except Exception as error:
            return ToolMessage(content=f"Error: {error}", error=True)
        return ToolMessage(content=result if isinstance(result, str) else json.dumps(result))
    def run_env_function_call(self, call):
        kit = self.user_tools if call.env_type == "user" else self.tools
        result = getattr(kit, call.func_name)(**call.arguments)
        self.sync_tools()
        return result
    def set_state(self, data, actions, history):
        if data.agent_data:
            raw = self.tools.db.model_dump()
            raw["lamps"] |= data.agent_data["lamps"]
            self.tools.db = type(self.tools.db).model_validate(raw)
        self.sync_tools()

class Registry:
    def get_env_constructor(self, name):
        return {"lamps": Environment}[name]

registry = Registry()
"""
ON: dict[str, Any] = {"name": "switch", "arguments": {"lamp": "hall", "on": True}}
FILES = {
    "tau2/__init__.py": "",
    "tau2/data_model/__init__.py": "",
    "tau2/data_model/message.py": MESSAGE,
    "tau2/data_model/tasks.py": TASKS,
    "tau2/registry.py": REGISTRY,
}


def write(folder: Path, files: Mapping[str, str] = FILES) -> None:
    """Writes the package into a folder that is on `sys.path`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def forget() -> None:
    """Unloads the package from this process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tau2"]:
        del sys.modules[name]
    registry.forget()
    importlib.invalidate_caches()
