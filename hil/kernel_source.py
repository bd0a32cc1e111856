"""One module of source from kernels and all that they call, wherever that stands.

The text holds everything that the functions' results depend on: each function without its words,
the value of each constant, the fields of each result. Two equal texts are equal programs, so the
hash of the text is the key of the compile cache: an edit in a callee or in a constant is another
text.
"""

from __future__ import annotations

import ast
import copy
import enum
import functools
import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, Final

from controller.domain.errors import InvariantError

Kernel = Callable[..., Any]

_BUILTINS: Final[Mapping[str, object]] = MappingProxyType(
    {one.__name__: one for one in (abs, bool, float, int, len, max, min, range)}
)


def name_of(function: Kernel) -> str:
    """Return ``module:function``, as in `controller.domain.kernels.KERNELS`."""
    return f"{function.__module__}:{function.__qualname__}"


def resolve(name: str) -> Kernel:
    """Return the function that ``module:function`` names."""
    module, _, function = name.partition(":")
    found: Kernel = getattr(importlib.import_module(module), function)
    return found


def mangled(module: str, name: str) -> str:
    """Return the name that `name` of `module` has in the text."""
    return f"{module.replace('.', '_')}__{name}"


class Source:
    """The text under construction: what is needed first stands first.

    Parameters
    ----------
    bind : mapping of str to function
        Functions to take in place of those that a module's name means (``module:name``), e.g.
        another cell's ``step`` in the loops of a population.
    given : sequence of functions
        What the prelude defines under its `mangled` name, so that its source is not taken.
    """

    def __init__(
        self, *, bind: Mapping[str, Kernel] | None = None, given: Sequence[Kernel] = ()
    ) -> None:
        self._bind = dict(bind or {})
        self._names: dict[object, str] = {
            one: mangled(one.__module__, one.__qualname__) for one in given
        }
        self._open: set[Kernel] = set()
        self._imports: list[str] = []
        self._constants: dict[str, str] = {}
        self._functions: dict[str, str] = {}

    def add(self, function: Kernel) -> str:
        """Add a function and what it calls; return its name in the text.

        Raises
        ------
        InvariantError
            It uses something that cannot stand in the text, or calls itself.
        """
        if function in self._names:
            return self._names[function]
        if function in self._open:
            raise InvariantError(f"{name_of(function)} calls itself")
        if not isinstance(function, FunctionType):
            raise InvariantError(f"{function!r} is no plain function")
        self._open.add(function)
        node = _definition(function)
        name = mangled(function.__module__, function.__qualname__)
        node = _Rewriter(self, function).visit(node)
        node.name = name
        text = ast.unparse(ast.fix_missing_locations(node))
        self._functions[name] = text
        self._open.discard(function)
        self._names[function] = name
        return name

    @property
    def functions(self) -> list[Kernel]:
        """The functions in the text, callees first."""
        return [one for one in self._names if isinstance(one, FunctionType)]

    def text(self, prelude: str, entries: Sequence[str]) -> str:
        """Return the whole module.

        Parameters
        ----------
        prelude : str
            Defines the decorators ``entry`` and ``kernel``.
        entries : sequence of str
            Names, as `add` gave them, of the functions to be called from Python.
        """
        constants = [f"{name} = {value}" for name, value in self._constants.items()]
        parts = [
            '"""Made from the kernels; what is written here is overwritten."""',
            "\n".join(["import math", *self._imports]),
            prelude.strip(),
            "\n".join(constants),
            *(
                f"@{'entry' if name in entries else 'kernel'}\n{function}"
                for name, function in self._functions.items()
            ),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    # -- what a name means ----------------------------------------------------------------------

    def meaning(self, module: str, name: str, value: object) -> str:
        """Return the expression that stands in the text for a global or a module's attribute."""
        bound = self._bind.get(f"{module}:{name}")
        if bound is not None:
            return self.add(bound)
        if isinstance(value, FunctionType):
            return self.add(value)
        if isinstance(value, type):
            return self._result(value)
        called = getattr(value, "__name__", "")
        if called and getattr(math, called, None) is value:
            return f"math.{called}"
        if called and _BUILTINS.get(called) is value:
            return called
        text = self._literal(value)
        if text is None:
            raise InvariantError(f"{module}: {name} is nothing that a kernel can use")
        key = mangled(module, name)
        if self._constants.setdefault(key, text) != text:
            raise InvariantError(f"{module}: {name} has two values")
        return key

    def _result(self, kind: type) -> str:
        fields = getattr(kind, "_fields", None)
        if not issubclass(kind, tuple) or fields is None or "<locals>" in kind.__qualname__:
            raise InvariantError(f"{kind!r} is no named tuple of a module")
        if kind not in self._names:
            self._names[kind] = mangled(kind.__module__, kind.__qualname__)
            self._imports.append(
                f"from {kind.__module__} import {kind.__qualname__} as {self._names[kind]}"
                f"  # {', '.join(fields)}"
            )
        return self._names[kind]

    def _literal(self, value: object) -> str | None:
        """Return the text of a constant: a number, or a tuple or named tuple of them."""
        if isinstance(value, tuple):
            elements = [self._literal(element) for element in value]
            if None in elements:
                return None
            inner = ", ".join(str(element) for element in elements)
            if hasattr(value, "_fields"):
                return f"{self._result(type(value))}({inner})"
            return f"({inner},)" if elements else "()"
        if isinstance(value, bool):
            return repr(value)
        if isinstance(value, int):
            return int.__repr__(value)
        if isinstance(value, float):
            if value != value:
                return "math.nan"
            if math.isinf(value):
                return "math.inf" if value > 0.0 else "-math.inf"
            return float.__repr__(value)
        return None


class _Rewriter(ast.NodeTransformer):
    """Puts the text's names in place of a function's globals, and leaves its words out."""

    def __init__(self, source: Source, function: FunctionType) -> None:
        self._source = source
        self._module = function.__module__
        self._scope = function.__globals__
        self._local = set(function.__code__.co_varnames)
        if function.__code__.co_freevars:
            raise InvariantError(f"{name_of(function)} uses variables of another function")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.decorator_list or node.args.defaults or node.args.kwonlyargs:
            raise InvariantError(f"{self._module}:{node.name}: decorators or defaults")
        for argument in node.args.args:
            argument.annotation = None
        node.returns = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.stmt]:
        """Take a field apart element by element: at once is quick in Python, unknown to numba."""
        target, value = node.targets[0], node.value
        if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Attribute)):
            return self.generic_visit(node)
        apart: list[ast.stmt] = []
        for place, element in enumerate(target.elts):
            if not isinstance(element, ast.Name):
                raise InvariantError(f"{self._module}: {ast.unparse(node)}: no plain variables")
            one = ast.Subscript(copy.deepcopy(value), ast.Constant(place), ast.Load())
            apart.append(ast.Assign([element], self.visit(one)))
        return apart

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Resolve ``module.name`` and ``SomeEnum.MEMBER``; fields of variables stay."""
        base = node.value
        if isinstance(base, ast.Name) and base.id not in self._local:
            owner = self._scope.get(base.id)
            if isinstance(owner, ModuleType):
                return self._means(owner.__name__, node.attr, getattr(owner, node.attr))
            if isinstance(owner, enum.EnumType):
                return self._means(
                    owner.__module__, f"{owner.__name__}_{node.attr}", getattr(owner, node.attr)
                )
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._local:
            return node
        if node.id in self._scope:
            return self._means(self._module, node.id, self._scope[node.id])
        if node.id in _BUILTINS:
            return node
        raise InvariantError(f"{self._module}: {node.id} is not known")

    def _means(self, module: str, name: str, value: object) -> ast.expr:
        return ast.parse(self._source.meaning(module, name, value), mode="eval").body


def _definition(function: FunctionType) -> ast.FunctionDef:
    """Return a fresh syntax tree of a function."""
    file = inspect.getsourcefile(function)
    if file is None or "<locals>" in function.__qualname__:
        raise InvariantError(f"{name_of(function)} has no source of its own")
    path = Path(file)
    stat = path.stat()
    node = _functions_in(path, stat.st_mtime_ns, stat.st_size).get(function.__qualname__)
    if node is None:
        raise InvariantError(f"{name_of(function)} is not defined in {path.name}")
    return copy.deepcopy(node)  # it will be rewritten


@functools.lru_cache(maxsize=64)
def _functions_in(
    path: Path,
    stamp_ns: int,  # noqa: ARG001 -- with the size the key: a file edited is read again
    size: int,  # noqa: ARG001 -- likewise
) -> Mapping[str, ast.FunctionDef]:
    """Return the syntax trees of the functions at the top of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
