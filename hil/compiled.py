"""Compiled twins of kernels: the same source, translated by numba; the plain functions stay.

`build` takes functions and the types of their arguments, writes one module from their source and
all they call (`hil.kernel_source`), and compiles it for this processor. Without numba (the extra
``[fast]``) the same module runs as Python: the same results, some hundred times slower.

No fastmath. Division and the functions of `math` follow IEEE 754 where Python would raise; in
everything that does not raise in Python, plain and compiled agree
(`tests/property/test_compiled_kernels.py`).

What was compiled is kept in the user's cache directory under the hash of the module's text, the
types, the versions and the processor. A folder that another process is filling is waited for, one
that is not as it was written is made anew, and where nothing can be written it works without.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

import numpy as np

from hil import prefetch, records
from hil.kernel_source import Kernel, Source

CACHE_SCHEMA: Final = 1
KEPT: Final = 12  # programs kept in the cache
LOCK_TIMEOUT_S: Final = 300.0

_MODULE: Final = "kernels.py"
_MANIFEST: Final = "manifest.json"
_PLAIN_PRELUDE: Final = """
def kernel(function):
    return function


entry = kernel
"""
_NUMBA_PRELUDE: Final = """
import numba

from hil.prefetch import compiled_prefetch

hil_prefetch__prefetch = compiled_prefetch()
entry = numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True)
# Called by compiled code alone: without the ways in from Python, a third of the time is saved.
kernel = numba.njit(error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An argument that is one record: a row of a structured array.

    Attributes
    ----------
    kind : type
        The class that the same kernel gets in plain Python (`hil.records`).
    lengths : mapping of str to int
        Of its lists.
    """

    kind: type
    lengths: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Its structured type."""
        return records.record_dtype(self.kind, self.lengths)


def record_of(example: object) -> Record:
    """Return the argument that takes objects like this one."""
    return Record(kind=type(example), lengths=records.lengths_of(example))


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """An argument that is a one-dimensional array of numbers or records, each next to the other."""

    of: type | Record


Argument = type | Record | Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A function to be called from Python.

    Attributes
    ----------
    function : function
        A kernel, or a loop over kernels. Compiled it runs without the interpreter's lock, so that
        threads can share the cells of a population.
    arguments : tuple
        For each argument ``float``, ``int``, ``bool``, a class of named tuples of these, `Record`
        or `Array`.
    """

    function: Kernel
    arguments: tuple[Argument, ...]


@functools.lru_cache(maxsize=1)
def why_not() -> str:
    """Return why nothing can be compiled here; empty if it can."""
    try:
        import numba  # noqa: PLC0415 -- half a second that only compiled runs pay
    except ImportError as error:
        return f"numba cannot be imported ({error}); the extra [fast] installs it"
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    return ""


def available() -> bool:
    """Return whether kernels can be compiled here; imports numba."""
    return not why_not()


def cache_directory() -> Path:
    """Return where compiled kernels are kept: the platform's place for a user's cache."""
    if sys.platform == "win32":
        given = os.environ.get("LOCALAPPDATA")
        base = Path(given) if given else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        given = os.environ.get("XDG_CACHE_HOME")
        base = Path(given) if given else Path.home() / ".cache"
    return base / "lithium-reactivation" / "kernels"


def build(
    entries: Sequence[Entry],
    *,
    bind: Mapping[str, Kernel] | None = None,
    compiled: bool | None = None,
    cache: Path | None = None,
) -> tuple[Callable[..., Any], ...]:
    """Return a callable for each entry, in their order.

    Parameters
    ----------
    entries : sequence of Entry
        Compiled together: what they share is compiled once.
    bind : mapping of str to function, optional
        See `hil.kernel_source.Source`.
    compiled : bool, optional
        Default: `available`. False gives the same callables in plain Python, which take the same
        arrays and rows.
    cache : Path, optional
        Default: `cache_directory`.

    Raises
    ------
    InvariantError
        A function does what a kernel may not.
    """
    if compiled is None:
        compiled = available()
    source = Source(bind=bind, given=[prefetch.prefetch] if compiled else [])
    names = [source.add(entry.function) for entry in entries]
    if not compiled:
        module = _executed("reactivation_kernels_plain", source.text(_PLAIN_PRELUDE, names), None)
        return tuple(
            _plain(getattr(module, name), entry.arguments)
            for name, entry in zip(names, entries, strict=True)
        )
    return _compiled(source.text(_NUMBA_PRELUDE, names), names, entries, cache or cache_directory())


# -- plain ------------------------------------------------------------------------------------


def _plain(function: Kernel, arguments: tuple[Argument, ...]) -> Callable[..., Any]:
    """Return `function` for rows and arrays: taken in as Python's objects, written back after."""

    def call(*given: Any) -> Any:
        taken = [_taken(kind, value) for kind, value in zip(arguments, given, strict=True)]
        result = function(*taken)
        for kind, value, changed in zip(arguments, given, taken, strict=True):
            _write_back(kind, value, changed)
        return result

    return call


def _taken(kind: Argument, value: Any) -> Any:
    if isinstance(kind, Record):
        return records.from_record(kind.kind, value)
    if isinstance(kind, Array):
        if isinstance(kind.of, Record):
            return [records.from_record(kind.of.kind, row) for row in value]
        return value.tolist()
    return value


def _write_back(kind: Argument, value: Any, changed: Any) -> None:
    if isinstance(kind, Record):
        records.to_record(changed, value)
    elif isinstance(kind, Array):
        if isinstance(kind.of, Record):
            for row, record in zip(value, changed, strict=True):
                records.to_record(record, row)
        else:
            value[:] = changed


# -- compiled ---------------------------------------------------------------------------------


def _compiled(
    text: str, names: Sequence[str], entries: Sequence[Entry], cache: Path
) -> tuple[Callable[..., Any], ...]:
    signatures = [tuple(_numba_type(one) for one in entry.arguments) for entry in entries]
    key = _key(text, names, signatures)
    module_name = f"reactivation_kernels_{key}"
    loaded = sys.modules.get(module_name)
    if loaded is None:
        loaded = _cached(text, names, signatures, cache / key) or _fresh(
            _executed(module_name, text, None), names, signatures
        )
    return tuple(getattr(loaded, name) for name in names)


def _key(text: str, names: Sequence[str], signatures: Sequence[tuple[Any, ...]]) -> str:
    """Return the hash of everything that the machine code depends on."""
    import llvmlite  # noqa: PLC0415 -- as above: only where something is compiled
    import numba  # noqa: PLC0415 -- as above
    from numba.core.registry import cpu_target  # noqa: PLC0415 -- as above

    config = numba.config
    parts = (
        CACHE_SCHEMA,
        text,
        inspect.getsource(prefetch),  # the one part of the program that the text only names
        tuple(names),
        tuple(str(signature) for signature in signatures),
        (sys.version, platform.platform(), numba.__version__, llvmlite.__version__, np.__version__),
        cpu_target.target_context.codegen().magic_tuple(),
        (config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT, config.USING_SVML),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _numba_type(argument: Argument) -> Any:
    import numba  # noqa: PLC0415 -- as above

    if isinstance(argument, Array):
        return numba.types.Array(_numba_type(argument.of), 1, "C")
    if isinstance(argument, Record):
        return numba.from_dtype(argument.dtype)
    for number, kind in ((bool, numba.boolean), (int, numba.int64), (float, numba.float64)):
        if issubclass(argument, number):
            return kind
    inner = tuple(_numba_type(hint) for hint in records.fields_of(argument).values())
    if len(set(inner)) == 1:
        return numba.types.NamedUniTuple(inner[0], len(inner), argument)
    return numba.types.NamedTuple(inner, argument)


def _executed(name: str, text: str, file: Path | None) -> ModuleType:
    """Return the module of a text; with a file it can be found under its name again."""
    module = ModuleType(name)
    module.__file__ = str(file or "<kernels>")
    sys.modules[name] = module  # numba looks the module up to bring back what it has cached
    exec(compile(text, module.__file__, "exec"), module.__dict__)  # noqa: S102 -- our own source
    return module


def _fresh(
    module: ModuleType, names: Sequence[str], signatures: Sequence[tuple[Any, ...]]
) -> ModuleType:
    for name, signature in zip(names, signatures, strict=True):
        dispatcher = getattr(module, name)
        dispatcher.compile(signature)
    for name in names:
        getattr(module, name).disable_compile()
    return module


def _cached(
    text: str, names: Sequence[str], signatures: Sequence[tuple[Any, ...]], folder: Path
) -> ModuleType | None:
    """Return the compiled module through its folder in the cache; None where that cannot be."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 -- only the cache needs it

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            intact = _intact(folder)
            if not intact:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                (folder / _MODULE).write_text(text, encoding="utf-8")
            module = _through_folder(text, names, signatures, folder)
            if intact:
                os.utime(folder)  # used just now
            else:
                _write_manifest(folder)
                _prune(folder.parent)
            return module
    except (OSError, Timeout):
        return None


def _through_folder(
    text: str, names: Sequence[str], signatures: Sequence[tuple[Any, ...]], folder: Path
) -> ModuleType:
    import numba  # noqa: PLC0415 -- as above

    module = _executed(f"reactivation_kernels_{folder.name}", text, folder / _MODULE)
    elsewhere = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = ""  # beside the module, wherever the user keeps other code
    try:
        for name in names:
            getattr(module, name).enable_caching()
    finally:
        numba.config.CACHE_DIR = elsewhere
    return _fresh(module, names, signatures)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _MANIFEST
    }


def _intact(folder: Path) -> bool:
    """Return whether every file is as it was written; numba itself would fail on a damaged one."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(manifest == _hashes(folder))


def _write_manifest(folder: Path) -> None:
    text = json.dumps(_hashes(folder), indent=1)
    (folder / _MANIFEST).write_text(text + "\n", encoding="utf-8")


def _prune(root: Path) -> None:
    """Leave the programs used last; an old one is made anew when somebody wants it."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 -- only the cache needs it

    folders = [path for path in root.iterdir() if path.is_dir()]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        with suppress(Timeout), FileLock(folder.with_suffix(".lock"), timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
