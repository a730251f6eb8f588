"""The two tools that every customer-service domain has: `calculate` and the transfer to a human.

Arithmetic is evaluated without `eval` and with limits, so that no expression can burn the CPU.
"""

import ast
import math
import operator
from collections.abc import Callable
from functools import lru_cache

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.state import State
from sea_env.domains.toolkit import tool

_CHARACTERS = frozenset("0123456789+-*/(). ")
_MAX_CHARACTERS = 1000
_MAX_BITS = 20_000
"""Of a power of integers: far beyond what fits a float, and microseconds of work."""
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


@tool(Kind.GENERIC)
def calculate(state: State, expression: str) -> str:
    """Calculate the result of a mathematical expression of numbers, + - * / and parentheses."""
    return str(round(_evaluate(expression), 2))


@tool(Kind.GENERIC)
def transfer_to_human_agents(state: State, summary: str) -> str:
    """Transfer the user to a human agent, with a summary of the issue."""
    return "Transfer successful"


@lru_cache(1024)  # the episodes of a group calculate the same
def _evaluate(expression: str) -> float:
    """Raises ToolError for characters or syntax that aren't arithmetic, and for huge numbers."""
    if not set(expression) <= _CHARACTERS:
        raise ToolError("Invalid characters in expression")
    if len(expression) > _MAX_CHARACTERS:
        raise ToolError("The expression is too long")
    try:
        result = float(_value(ast.parse(expression.strip(), mode="eval").body))
        if not math.isfinite(result):
            raise ValueError("the result is too large")
        return result
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ToolError(f"The expression can't be evaluated: {error}") from error


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](left, right)
    raise ValueError("it isn't a sum of numbers")


def _power(base: float, exponent: float) -> float:
    # Integers stay exact, as in tau2-bench, which has Python evaluate the expression; but
    # 9 ** 9 ** 9 would not end.
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if base.bit_length() * exponent > _MAX_BITS:
            raise ValueError("the power is too large")
        return int(base**exponent)
    result: float | complex = float(base) ** exponent
    # Python's root of a negative number is complex, which is no amount of anything.
    if isinstance(result, complex):
        raise ValueError("a negative number has no such power")
    return result
