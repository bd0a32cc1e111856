"""What pydantic found wrong in a run file, as faults with key, value and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from controller.domain.errors import Fault, nearest

LONGEST_VALUE = 60


def faults_of(error: ValidationError, where: str, root: type[BaseModel]) -> list[Fault]:
    """Return one `Fault` for each thing wrong."""
    return [_fault(dict(item), where, root) for item in error.errors(include_url=False)]


def _fault(item: dict[str, Any], where: str, root: type[BaseModel]) -> Fault:
    loc, kind, given = item["loc"], item["type"], item["input"]
    key = _dotted(loc)
    remedy = ""
    if kind == "extra_forbidden":
        problem = f"unknown key (= {_shown(given)})"
        remedy = nearest(str(loc[-1]), _keys(_model_at(root, loc[:-1])))
    elif kind == "missing":
        problem = "is missing"
        close = [one for one in _keys(_model_at(root, loc[:-1])) if one == str(loc[-1])]
        remedy = "" if close else "see `reactivate config`"
    elif kind in {"enum", "literal_error"}:
        expected = str(item.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
        problem = f"{_shown(given)} is not valid"
        remedy = nearest(str(given), [part.strip(" '") for part in expected.split(",")])
    elif isinstance(given, dict | list | tuple):
        problem = str(item["msg"])
    else:
        problem = f"{_shown(given)}: {item['msg']}"
    return Fault(where=where, key=key, problem=problem, remedy=remedy)


def _dotted(loc: Sequence[str | int]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(root: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel]:
    model = root
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = None if field is None else next(_models(field.annotation), None)
        model = inner or model
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
