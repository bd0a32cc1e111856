"""The recipes that come with the program, and recipes from files."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from controller.domain.errors import nearest, refuse
from protocols.parse import parse_recipe
from protocols.spec import Recipe


@cache
def _library() -> tuple[Recipe, ...]:
    folder = resources.files("protocols") / "library"
    found = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".toml")),
        key=lambda item: item.name,
    )
    return tuple(parse_recipe(item.read_text(encoding="utf-8"), item.name) for item in found)


def library() -> dict[str, Recipe]:
    """Return the recipes of the library by name, in alphabetical order of their files."""
    return {recipe.name: recipe for recipe in _library()}


def load(name_or_path: str | Path) -> Recipe:
    """Return a recipe by its library name, or from a file ending in ``.toml``.

    Raises
    ------
    ConfigurationError
        No such recipe (the nearest name is given), unreadable file, or faults within it.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml"):
        return _load_file(Path(name_or_path))
    recipes = library()
    if text not in recipes:
        raise refuse(
            "recipe library",
            text,
            "no such recipe",
            nearest(text, list(recipes)) + "; a file's name ends in .toml",
        )
    return recipes[text]


def _load_file(path: Path) -> Recipe:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise refuse(str(path), "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise refuse(str(path), "", f"is not UTF-8 text (byte {error.start})") from error
    return parse_recipe(text, str(path))
