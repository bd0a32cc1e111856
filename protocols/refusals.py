"""What pydantic found wrong in a value of a file: in words, with the nearest valid choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from controller.domain.errors import nearest

LONGEST_VALUE: Final = 60
_SHOULD_BE: Final = "Input should be "
_TYPES: Final[dict[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text in quotes",
    "list": "a list in [ ]",
    "tuple": "a list in [ ]",
    "dict": "a table",
    "model": "a table",
}


def in_words(item: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    """Return problem and remedy of one of a `ValidationError`'s errors.

    Parameters
    ----------
    item : mapping
    model : type of BaseModel
        The table in which its last key stands, or is missing.
    """
    given, kind = item["input"], str(item["type"])
    shown = _shown(given)
    message = str(item["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"unknown key (= {shown})", nearest(str(item["loc"][-1]), keys_of(model))
    if kind == "missing":
        return "is missing", ""
    if kind in {"enum", "literal_error"}:
        expected = str(item.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
        choices = [part.strip(" '") for part in expected.split(",")]
        return f"{shown} is not valid", nearest(str(given), choices)
    if message.startswith(_SHOULD_BE):
        wanted = message.removeprefix(_SHOULD_BE).partition(",")[0]
        if kind.endswith(("_type", "_parsing", "_from_float")):
            wanted = _TYPES.get(kind.partition("_")[0], wanted)
        return f"{shown} is not valid", wanted
    if isinstance(given, dict | list | tuple):
        return message, ""
    return f"{shown}: {message}", ""


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a table as they stand in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
