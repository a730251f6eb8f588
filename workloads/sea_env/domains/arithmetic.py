"""`calculate`: sums of numbers, evaluated without `eval` and without a way to burn the CPU."""

import ast
import operator
from collections.abc import Callable

from sea_env.domains.base import ToolError

_CHARACTERS = frozenset("0123456789+-*/(). ")
_LONGEST = 1000
_LARGEST_EXPONENT = 64.0
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def evaluate(expression: str) -> float:
    """The value; ToolError for characters, syntax or sizes that aren't a sum's."""
    if not set(expression) <= _CHARACTERS:
        raise ToolError("Invalid characters in expression")
    if len(expression) > _LONGEST:
        raise ToolError("The expression is too long")
    try:
        return float(_value(ast.parse(expression.strip(), mode="eval").body))
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
    if abs(exponent) > _LARGEST_EXPONENT:
        raise ValueError("the exponent is too large")
    result: float = float(base) ** exponent
    return result
