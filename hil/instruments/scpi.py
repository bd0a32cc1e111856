"""SCPI program messages to commands: headers in short and long form, chains, queries, arguments.

Never raises: what cannot be read becomes a command that carries its error number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

SYNTAX_ERROR: Final = -102
UNDEFINED_HEADER: Final = -113
SUFFIX_OUT_OF_RANGE: Final = -114

_OPTIONAL = re.compile(r"\[:?([A-Za-z]+)\]")
_NODE = re.compile(r"([A-Za-z]+)([0-9]*)\Z")


class ScpiCommand(NamedTuple):
    """One command of a program message.

    Attributes
    ----------
    header : str
        Canonical: short forms, upper case, optional nodes left out, e.g. ``SOUR:VOLT:ILIM``.
    query : bool
    arguments : tuple of str
        Strings keep their quotes.
    error : int
        0, or the SCPI error number.
    """

    header: str
    query: bool
    arguments: tuple[str, ...]
    error: int = 0


def split_outside_quotes(text: str, separator: str) -> list[str] | None:
    """Return the parts between separators that stand outside quotes; None for an open quote."""
    if '"' not in text and "'" not in text:
        return text.split(separator)
    parts = []
    start = 0
    quote = ""
    for i, letter in enumerate(text):
        if quote:
            if letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter == separator:
            parts.append(text[start:i])
            start = i + 1
    if quote:
        return None
    parts.append(text[start:])
    return parts


def short_form(node: str) -> str:
    """Return the capitals of a node such as ``VOLTage``."""
    return "".join(letter for letter in node if letter.isupper())


class Vocabulary:
    """The headers an instrument knows.

    Parameters
    ----------
    patterns : iterable of str
        Such as ``SOURce:VOLTage[:LEVel]``: capitals are the short form, brackets may be left out.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._nodes: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        for pattern in patterns:
            optional = {short_form(node) for node in _OPTIONAL.findall(pattern)}
            nodes = re.findall(r"\*?[A-Za-z]+", pattern)
            shorts = []
            for node in nodes:
                short = node if node.startswith("*") else short_form(node)
                self._nodes[node.upper()] = short
                self._nodes[short] = short
                shorts.append(short)
            canonical = ":".join(short for short in shorts if short not in optional)
            for path in _paths(shorts, optional):
                self._headers[path] = canonical

    def parse(self, line: str) -> tuple[ScpiCommand, ...]:
        """Return the commands of one program message (without its terminator)."""
        parts = split_outside_quotes(line.strip(), ";")
        if parts is None:
            return (ScpiCommand("", query=False, arguments=(), error=SYNTAX_ERROR),)
        commands = []
        root = ""
        for part in parts:
            text = part.strip()
            if not text:
                continue
            command, root = self._command(text, root)
            commands.append(command)
        return tuple(commands)

    def _command(self, text: str, root: str) -> tuple[ScpiCommand, str]:
        pieces = text.split(None, 1)
        word = pieces[0]
        query = word.endswith("?")
        if query:
            word = word[:-1]
        arguments = _arguments(pieces[1] if len(pieces) > 1 else "")
        if arguments is None:
            return ScpiCommand("", query=query, arguments=(), error=SYNTAX_ERROR), root
        if word.startswith("*"):
            known = self._headers.get(word.upper())
            error = 0 if known else UNDEFINED_HEADER
            return ScpiCommand(known or "", query=query, arguments=arguments, error=error), root
        # A leading colon starts at the root; otherwise the path of the command before goes on.
        path, error = self._path(word[1:] if word.startswith(":") else root + word)
        known = self._headers.get(path)
        if known is None:
            error = error or UNDEFINED_HEADER
            return ScpiCommand("", query=query, arguments=arguments, error=error), root
        new_root = path.rpartition(":")[0]
        return (
            ScpiCommand(known, query=query, arguments=arguments),
            new_root + ":" if new_root else "",
        )

    def _path(self, header: str) -> tuple[str, int]:
        shorts = []
        for node in header.split(":"):
            match = _NODE.match(node)
            if match is None:
                return "", UNDEFINED_HEADER
            short = self._nodes.get(match[1].upper())
            if short is None:
                return "", UNDEFINED_HEADER
            if match[2] not in {"", "1"}:
                return "", SUFFIX_OUT_OF_RANGE
            shorts.append(short)
        return ":".join(shorts), 0


def _paths(shorts: list[str], optional: set[str]) -> list[str]:
    """Return every path with and without each optional node."""
    paths: list[list[str]] = [[]]
    for short in shorts:
        longer = [[*path, short] for path in paths]
        paths = paths + longer if short in optional else longer
    return [":".join(path) for path in paths if path]


def _arguments(text: str) -> tuple[str, ...] | None:
    text = text.strip()
    if not text:
        return ()
    parts = split_outside_quotes(text, ",")
    if parts is None:
        return None
    return tuple(part.strip() for part in parts)


def unquote(argument: str) -> str:
    """Return the text of a string argument, upper case."""
    if len(argument) >= 2 and argument[0] == argument[-1] and argument[0] in "\"'":
        argument = argument[1:-1]
    return argument.upper()
