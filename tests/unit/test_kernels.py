"""Each registered kernel keeps to the subset of Python that can be compiled and cannot raise."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from controller.domain import total_math
from controller.domain.kernels import KERNELS

# Functions of `math` that give a value for every float; the others stand behind `total_math`.
MATH = {"asinh", "fabs", "tanh"}
BUILTINS: set[object] = {abs, min, max, len}
WRAPPERS: set[object] = {one for one in vars(total_math).values() if inspect.isfunction(one)}
# All that these modules define are kernels, too: the plant is no part of the controller's registry.
PLANT_MODULES = (
    "benchmarks.two_rc",
    "hil.cell.cathode",
    "hil.cell.cycler",
    "hil.cell.electrolyte",
    "hil.cell.kernel",
    "hil.cell.lithium",
)
PLANT = [
    f"{module}:{name}"
    for module in PLANT_MODULES
    for name, one in vars(importlib.import_module(module)).items()
    if inspect.isfunction(one) and one.__module__ == module
] + [
    "hil.logger:begin_control",
    "hil.logger:begin_leg",
    "hil.logger:due_in_s",
    "hil.logger:end_leg",
    "hil.logger:set_due",
    "hil.logger:take_note",
    "hil.logger:write_down",
    "hil.population:next_current",
]
STATEMENTS = (ast.Assign, ast.AugAssign, ast.Break, ast.If, ast.For, ast.Return)
EXPRESSIONS = (
    ast.Attribute,
    ast.BinOp,
    ast.BoolOp,
    ast.Call,
    ast.Compare,
    ast.Constant,
    ast.IfExp,
    ast.Name,
    ast.Subscript,
    ast.Tuple,
    ast.UnaryOp,
)


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


def is_numbers(value: object) -> bool:
    return is_number(value) or (isinstance(value, tuple) and all(map(is_number, value)))


def is_result(value: object) -> bool:
    """Return whether `value` is a class of named tuples."""
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


class Checker:
    """Collects what one function does beyond the subset.

    Written to are its own variables and its first parameter, the state, with the records in it.
    """

    def __init__(
        self, function: ast.FunctionDef, scope: Mapping[str, object], kernels: set[object]
    ) -> None:
        self.scope = {**vars(__import__("builtins")), **scope}
        self.kernels = kernels
        self.wrong: list[str] = []
        arguments = function.args
        self.parameters = [argument.arg for argument in arguments.args]
        self.local = set(self.parameters) | {
            node.id
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self.state = {self.parameters[0]} if self.parameters else set()
        self.state |= self.parts_of_the_state(function)
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults:
            self.wrong.append("parameters")
        if function.decorator_list:
            self.wrong.append("decorator")
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        for statement in body:
            self.statement(statement)

    def parts_of_the_state(self, function: ast.FunctionDef) -> set[str]:
        """Return the variables that only ever stand for a record within the state."""
        assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
        return {
            name
            for name, values in assigned.items()
            if name not in self.parameters
            and all(
                isinstance(one, ast.Attribute) and self.owner(one) in self.state for one in values
            )
        }

    def owner(self, node: ast.expr) -> str:
        """Return the variable whose field, or field's field, this is; empty if it is no field."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return node.id if isinstance(node, ast.Name) and node.id in self.local else ""

    def fault(self, node: ast.AST, what: str) -> None:
        self.wrong.append(f"line {getattr(node, 'lineno', 0)}: {what}: {ast.unparse(node)}")

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self.call(node.value)
        elif not isinstance(node, STATEMENTS):
            self.fault(node, type(node).__name__)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self.target(target)
            self.expression(node.value)
        elif isinstance(node, ast.AugAssign):
            self.target(node.target)
            self.expression(node.value)
        elif isinstance(node, ast.Return):
            self.returned(node.value)
        elif isinstance(node, ast.If):
            self.expression(node.test)
            self.block(node.body + node.orelse)
        elif isinstance(node, ast.For):
            self.loop(node)

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def loop(self, node: ast.For) -> None:
        over = node.iter
        if not (
            isinstance(over, ast.Call)
            and isinstance(over.func, ast.Name)
            and over.func.id == "range"
            and not over.keywords
            and isinstance(node.target, ast.Name)
            and not node.orelse
        ):
            self.fault(node, "loop over something else than range")
            return
        for argument in over.args:
            self.expression(argument)
        self.block(node.body)

    def target(self, node: ast.expr) -> None:
        """Own variables, and fields of the first parameter or elements of its fields.

        Also elements through a variable that only ever stands for such a field.
        """
        if isinstance(node, ast.Name):
            return
        if isinstance(node, ast.Tuple):
            for element in node.elts:
                self.target(element)
            return
        base = node
        if isinstance(base, ast.Subscript):
            self.expression(base.slice)
            base = base.value
            if isinstance(base, ast.Name) and base.id in self.state - {*self.parameters}:
                return
        if not (isinstance(base, ast.Attribute) and self.owner(base) in self.state):
            self.fault(node, "written to")

    def returned(self, node: ast.expr | None) -> None:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and is_result(self.scope.get(node.func.id))
        ):
            self.arguments(node)
        elif isinstance(node, ast.IfExp):
            self.expression(node.test)
            self.returned(node.body)
            self.returned(node.orelse)
        elif node is not None:
            self.expression(node)

    def arguments(self, node: ast.Call) -> None:
        if node.keywords:
            self.fault(node, "keyword argument")
        for argument in node.args:
            self.expression(argument)

    def expression(self, node: ast.expr) -> None:
        if not isinstance(node, EXPRESSIONS):
            self.fault(node, type(node).__name__)
        elif isinstance(node, ast.Constant):
            if not is_number(node.value):
                self.fault(node, "no number")
        elif isinstance(node, ast.Tuple):
            self.fault(node, "tuple")
        elif isinstance(node, ast.Name):
            if node.id not in self.local and not is_numbers(self.scope.get(node.id)):
                self.fault(node, "global that is no number")
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Subscript):
                self.expression(node.value)
            elif not self.owner(node):
                self.fault(node, "attribute")
        elif isinstance(node, ast.Call):
            self.call(node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            self.fault(node, "power, which can raise")
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.expression(child)

    def call(self, node: ast.Call) -> None:
        function = node.func
        called: object = None
        if isinstance(function, ast.Name) and function.id not in self.local:
            called = self.scope.get(function.id)
        elif (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and self.scope.get(function.value.id) is math
        ):
            called = getattr(math, function.attr, None)
        allowed = BUILTINS | WRAPPERS | self.kernels | {getattr(math, name) for name in MATH}
        if called is None or called not in allowed:
            self.fault(node, "call")
        self.arguments(node)


def resolve(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def wrong_in(source: str, scope: Mapping[str, object], kernels: set[object]) -> list[str]:
    (function,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(function, ast.FunctionDef)
    return Checker(function, scope, kernels).wrong


FUNCTIONS: set[object] = {resolve(name) for name in KERNELS}
PLANT_FUNCTIONS: set[object] = {resolve(name) for name in PLANT}


@pytest.mark.parametrize("name", PLANT)
def test_plant_kernel_keeps_to_the_subset(name: str) -> None:
    function = resolve(name)
    scope = vars(inspect.getmodule(function))
    assert wrong_in(inspect.getsource(function), scope, PLANT_FUNCTIONS) == []


@pytest.mark.parametrize("x", [0.0, -0.0, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan])
def test_what_stands_for_math_gives_a_value_for_every_float(x: float) -> None:
    singles = [getattr(math, name) for name in MATH]
    for one in WRAPPERS:
        assert inspect.isfunction(one)
        count = len(inspect.signature(one).parameters)
        for others in itertools.product([x, 0.0, 1.0, -math.inf], repeat=count - 1):
            assert isinstance(one(x, *others), float)
    assert all(isinstance(one(x), float) for one in singles)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_keeps_to_the_subset(name: str) -> None:
    function = resolve(name)
    assert wrong_in(inspect.getsource(function), vars(inspect.getmodule(function)), FUNCTIONS) == []


def test_the_names_are_sorted_and_stand_once() -> None:
    assert list(KERNELS) == sorted(set(KERNELS))


class Pair(NamedTuple):
    a: float
    b: float


SCOPE: dict[str, object] = {
    "LIMIT": 1.0,
    "TABLE": (1, 2, 3),
    "NOTHING": Pair(0.0, 0.0),
    "WORDS": {"a": 1},
    "NAMES": ("a", "b"),
    "Pair": Pair,
    "math": math,
    "fabs": math.fabs,
    "kernel": resolve(KERNELS[0]),
    "safe_exp": total_math.safe_exp,
    "other": wrong_in,
}


@pytest.mark.parametrize(
    "body",
    [
        "return x",
        "return",
        "s.a = x\n    s.b += 1\n    s.c[0] = x",
        "s.a.b = 1.0\n    s.a.c[0] = s.a.b",
        "a = s.a\n    a.b += 1.0\n    a.c.d = x.e.f",
        "a = s.a\n    a[0] = a[1] + x",
        "return math.asinh(math.tanh(safe_exp(x)))",
        "a, b = x\n    return a if a > LIMIT else -b",
        "a, b = s.c\n    return a + b",
        "for i in range(3):\n        s.a += TABLE[i]",
        "return Pair(x, math.fabs(x))",
        "return Pair(x, x) if x else NOTHING",
        "return fabs(max(x, 0.0)) + kernel(s, x)",
        "kernel(s, x)\n    return x.pulses[0].a",
        "'''Words.'''\n    if not x <= 1.0 and True:\n        return x\n    return s.pulses[0]",
    ],
)
def test_what_a_kernel_may_do(body: str) -> None:
    assert wrong_in(f"def f(s, x):\n    {body}\n", SCOPE, FUNCTIONS) == []


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError",
        "try:\n        return x\n    finally:\n        s.a = 1",
        "with x:\n        return 1",
        "while x:\n        s.a += 1",
        "return lambda: x",
        "return [i for i in x]",
        "return f'{x}'",
        "return 'word'",
        "return None",
        "return [x, x]",
        "return (x, x)",
        "return {x: x}",
        "x.append(1)",
        "other(x)",
        "fabs",
        "return x.copy()",
        "return other(x)",
        "return sorted(x)",
        "return math.sqrt(x)",
        "return math.pi",
        "return WORDS",
        "return NAMES",
        "return UNKNOWN",
        "return x(1)",
        "return fabs(x=x)",
        "return 1.0 + Pair(x, x)",
        "for i in x:\n        s.a += i",
        "for i in range(3):\n        s.a += 1\n    else:\n        s.a = 0",
        "x.a = 1",
        "global LIMIT",
        "import math",
        "x.a.b = 1",
        "a = x.a\n    a.b = 1",
        "a = x.a\n    a[0] = 1",
        "a = s.a\n    a = x.a\n    a[0] = 1",
        "s[0] = 1",
        "a = s.a\n    a = x.a\n    a.b = 1",
        "math.a.b = 1",
        "return x**2",
        "return math.exp(x)",
        "return UNKNOWN.a.b",
        "del x",
        "assert x",
        "return (y := x)",
        "def g():\n        return 1",
    ],
)
def test_what_a_kernel_may_not_do(body: str) -> None:
    assert len(wrong_in(f"def f(s, x):\n    {body}\n", SCOPE, FUNCTIONS)) > 0


@pytest.mark.parametrize(
    "head", ["def f(s, x=1)", "def f(s, *x)", "def f(s, **x)", "def f(s, *, x)", "@fabs\ndef f(s)"]
)
def test_what_a_kernel_may_not_take(head: str) -> None:
    assert len(wrong_in(f"{head}:\n    return 1\n", SCOPE, FUNCTIONS)) == 1
