"""The YAML file as plain data, with the line of every value and every slip of form as a problem.

Numbers stay text here: the schema decides what is a number. So an ``api_key: 0123`` keeps its zero and an account
named ``007`` its name, where YAML's own guessing would make them 83 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bridge.errors import Problem

__all__ = ["Document", "Location", "dotted", "parse_text", "read_document"]

Location = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_MAX_VALUES = 100_000
_MAX_DEPTH = 30
_MAX_FILE = 16 * 1024**2
# The parser quotes names of aliases and tags: a secret that begins with '*' or '!' and lacks quotes looks like one.
_QUOTED = re.compile(r"\b(alias|anchor|handle|prefix|tag)\b[^'\"]*['\"].*", re.DOTALL)
_UNQUOTED = r"\1; put a value that begins with '*', '&' or '!' into quotes"
_SLIPS = (
    (r"character '\t'", "indent with spaces, not with tabs"),
    ("that cannot start any token", "put a text that begins with this character into quotes"),
    ("mapping values are not allowed here", "is there a second ': ' in the line, or too much indentation?"),
    ("expected a single document", "the file takes one document: remove this '---', or what follows it"),
    ("expected <block end>", "the indentation does not fit that of the lines above"),
    ("could not find expected ':'", "is a ':' missing, or does the indentation not fit?"),
    ("unexpected end of stream", "the quote that begins in {begun} is not closed"),
    ("expected ',' or", "is a comma missing, or is the bracket of {begun} not closed?"),
)
"""What the parser says → what is most likely meant by it."""
_BOOL, _NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "null", "merge"))


class _Loader(yaml.SafeLoader):
    """YAML without guessing: plain scalars are text, but for nulls, ``true``/``false`` and merge keys."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (the base class wants it on the class)


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_MERGE, re.compile(r"^(?:<<)$"), ["<"])


def dotted(location: Location) -> str:
    """``("connectors", 0, "url")`` as ``connectors.0.url``."""
    return ".".join(str(part) for part in location)


@dataclass
class Document:
    """``data`` as read; ``lines`` has the line (from 1) of each location; ``problems`` what was wrong with the form."""

    data: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, location: Location, message: str, node: yaml.Node | None = None) -> None:
        hint = f"line {node.start_mark.line + 1}" if node is not None else ""
        self.problems.append(Problem(dotted(location) or "(top level)", message, hint))


def read_document(path: Path) -> Document:
    """Read a YAML file; whatever is wrong with it is in the document's ``problems``, nothing is raised."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
        if len(raw) > _MAX_FILE:
            return _unreadable(f"{path} is larger than {_MAX_FILE // 1024**2} MiB; is it the right file?")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        return _unreadable(*_unopened(path, error))
    except UnicodeDecodeError as error:
        return _unreadable(*_undecoded(path, raw, error.start))
    return parse_text(text)


def parse_text(text: str) -> Document:
    """Parse YAML text; syntax errors and duplicate keys are in the document's ``problems``."""
    document = Document()
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Converter(document).convert(node, ())
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax(error))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        document.problems.append(Problem("(syntax)", what, f"line {line}"))
    except RecursionError:
        document.problems.append(Problem("(syntax)", "nested too deeply"))
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _unopened(path: Path, error: OSError) -> tuple[str, str]:
    if isinstance(error, FileNotFoundError):
        where = "" if path.is_absolute() else f"looked in {Path.cwd()}; "
        return f"no such file: {path}", f"{where}'tickbridge init' writes one"
    if isinstance(error, IsADirectoryError):
        return f"{path} is a directory", "name the file in it"
    return f"cannot read {path}: {error.strerror or error}", ""


def _undecoded(path: Path, raw: bytes, start: int) -> tuple[str, str]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"{path} is UTF-16 text", "save it as UTF-8"
    line = raw.count(b"\n", 0, start) + 1
    return f"{path} is not UTF-8 text", f"save it as UTF-8; the first such character is in line {line}"


def _syntax(error: yaml.MarkedYAMLError) -> Problem:
    """The parser's words, with what to do about the usual slips."""
    mark = error.problem_mark or error.context_mark
    what = " ".join(part for part in (error.context, error.problem) if part)
    begun = f"line {error.context_mark.line + 1}" if error.context_mark else "a line above"
    hints = [f"line {mark.line + 1}, column {mark.column + 1}"] if mark else []
    hints += [hint.format(begun=begun) for slip, hint in _SLIPS if slip in what][:1]
    return Problem("(syntax)", f"not valid YAML: {_QUOTED.sub(_UNQUOTED, what)}", "; ".join(hints))


def _unreadable(message: str, hint: str = "") -> Document:
    return Document(problems=[Problem("(file)", message, hint)])


class _Converter:
    """Turns the parser's nodes into plain data and notes lines, duplicate keys and tags on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def convert(self, node: yaml.Node, location: Location) -> Any:
        self._values += 1
        if self._values > _MAX_VALUES or len(location) > _MAX_DEPTH:
            # Aliases can make a small file huge, or endless.
            raise yaml.MarkedYAMLError(problem="too many or too deeply nested values", problem_mark=node.start_mark)
        self._document.lines.setdefault(location, node.start_mark.line + 1)
        if not node.tag.startswith("tag:yaml.org,2002:") or "python/" in node.tag:
            self._document.add(location, "YAML tags are not supported", node)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(item, (*location, index)) for index, item in enumerate(node.value)]
        if node.tag == _NULL:
            return None
        return node.value.lower() == "true" if node.tag == _BOOL else node.value

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for source in self._merge_sources(value_node, location):
                    for key, value in self._mapping(source, location).items():
                        merged.setdefault(key, value)
            elif not isinstance(key_node, yaml.ScalarNode):
                self._document.add(location, "a key must be plain text", key_node)
            else:
                key = key_node.value
                here = (*location, key)
                if key in own:
                    first = self._document.lines[here]
                    self._document.add(here, f"is given twice: first in line {first}", key_node)
                    continue
                # The key's line, not the value's: a block's value begins a line below.
                self._document.lines[here] = key_node.start_mark.line + 1
                own[key] = self.convert(value_node, here)
        return {**merged, **own}

    def _merge_sources(self, node: yaml.Node, location: Location) -> Iterator[yaml.MappingNode]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            self._values += 1
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self._document.add(location, "'<<' takes a mapping", source)
