"""The system prompt of domains with a policy of their own: policy, then tools as JSON schemas."""

import json
from collections.abc import Sequence

from sea_workloads.domains.base import Tool

_INSTRUCTION = """\
<instructions>
You are a customer service agent that helps the user according to the <policy> provided below.
In each turn you can either:
- Send a message to the user.
- Make a tool call.
You cannot do both at the same time.

Try to be helpful and always follow the policy. Always make sure you generate valid JSON only.
</instructions>"""

_TOOLS = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{schemas}
</tools>

For each function call, return a json object with function name and arguments within \
tool_call XML tags:
{{"name": <function-name>, "arguments": <args-json-object>}}"""


def customer_service_prompt(policy: str, tools: Sequence[Tool]) -> str:
    """tau2's instruction and policy, and Qwen3's way of describing tools.

    The tags of a call are described without being written: text never becomes a tag here.
    """
    schemas = "\n".join(json.dumps(tool.schema()) for tool in tools)
    return "\n".join(
        (
            _INSTRUCTION,
            f"<policy>\n{policy.strip()}\n</policy>",
            "",
            _TOOLS.format(schemas=schemas),
        )
    )
