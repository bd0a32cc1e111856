"""What pydantic found wrong in a run file, as faults with key, value and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from controller.domain.errors import Fault
from protocols.refusals import in_words


def faults_of(error: ValidationError, where: str, root: type[BaseModel]) -> list[Fault]:
    """Return one `Fault` for each thing wrong."""
    return [_found(dict(item), where, root) for item in error.errors(include_url=False)]


def _found(item: Mapping[str, Any], where: str, root: type[BaseModel]) -> Fault:
    loc = item["loc"]
    problem, remedy = in_words(item, _model_at(root, loc[:-1]))
    if item["type"] == "missing":
        remedy = "`reactivate config` writes a run file that has it"
    return Fault(where=where, key=_dotted(loc), problem=problem, remedy=remedy)


def _dotted(loc: Sequence[str | int]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


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
