"""What can be changed in a module: Cosmic Ray's operators and one of our own, without what changes nothing."""

from __future__ import annotations

import ast
import difflib
import functools
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.exception_replacer import ExceptionReplacer
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name

ROOT = Path(__file__).parents[2]
_IDENTITY = re.compile(r"ReplaceComparisonOperator_(?:\w*_Is(?:Not)?|Is(?:Not)?_\w*)$")
_OPPOSITES = ("Is_IsNot", "IsNot_Is")
_SKIPPED = ("NoOp", "VariableInserter", "VariableReplacer")
_LONG_NUMBER = 3
"""Digits from which one more or less changes no behaviour: limits of bytes, seconds into nanoseconds."""
_SWITCHES = ("ReplaceTrueWithFalse", "ReplaceFalseWithTrue")
_IDLE = ("strict=True", "gc=False")
"""Of a ``zip``, and of a struct, which costs the garbage collector something then, and is the same."""
_SCOPES = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LOG = re.compile(r"(?:self\.)?_?log\.")


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    file: str
    """Below the repository, with slashes."""
    line: int
    """Where it is, from 1."""
    operator: str
    occurrence: int
    source: str = field(repr=False, compare=False)
    """The module's whole text, changed."""
    before: str = ""
    """The lines that it removes, stripped."""
    after: str = ""
    """The lines that it adds, stripped."""

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def within(self) -> str:
        """The function that it is in, with its class; empty at the module's top."""
        names = []
        node: ast.AST | None = ast.parse(_text(self.file))
        while node:
            inner = [child for child in ast.walk(node) if child is not node and isinstance(child, _SCOPES)]
            node = next((child for child in inner if child.lineno <= self.line <= (child.end_lineno or 0)), None)
            names += [node.name] if node else []
        return ".".join(names)

    def diff(self) -> str:
        """The change, as ``diff -u`` shows it, with two lines around it."""
        lines = difflib.unified_diff(_text(self.file).splitlines(), self.source.splitlines(), n=2, lineterm="")
        return "\n".join(list(lines)[2:])


class RemoveStatement(Operator):
    """Leaves out a call, or an assignment to an attribute or an element; lines for the log stay."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _acts(node.children[0]):
            yield node.start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[0] = parso.parse(node.get_first_leaf().prefix + "pass")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class ReplaceException(ExceptionReplacer):
    """Cosmic Ray's own, for names alone: it fails at ``module.Error`` and at ``*ERRORS``."""

    @staticmethod
    def _name_nodes(node: Any) -> list[Any]:
        return [name for name in ExceptionReplacer._name_nodes(node) if isinstance(name, Name)]


def sample(files: Iterable[str], number: int, seed: int) -> list[Mutant]:
    """So many mutants of these files, one for a place at most; all places' first ones are equally likely.

    Binary operators have eleven replacements each and calls have one: places are drawn, then one change of each.
    """
    chance = random.Random(seed)
    places = [(file, *place) for file in sorted(files) for place in sorted(_places(_text(file)).items())]
    chance.shuffle(places)
    found: list[Mutant] = []
    for file, (line, _column, _family), changes in places:
        operator, occurrence = chance.choice(changes)
        if mutant := _mutant(file, line, operator, occurrence):
            found.append(mutant)
        if len(found) == number:
            break
    return found


def _places(source: str) -> dict[tuple[int, int, str], list[tuple[str, int]]]:
    """Where something can be changed: the operators, and which of their occurrences it is."""
    tree = get_ast(source)
    typed = _annotations(source)
    places: dict[tuple[int, int, str], list[tuple[str, int]]] = defaultdict(list)
    for name, operator in _operators().items():
        occurrence = 0
        for node in ast_nodes(tree):
            for (line, column), _stop in operator.mutation_positions(node):
                if not _is_idle(name, node) and not any(first <= (line, column) < last for first, last in typed):
                    places[line, column, name.split("_")[0]].append((name, occurrence))
                occurrence += 1
    return places


def _is_idle(operator: str, node: Any) -> bool:
    """Whether this change of a node changes nothing: of a long number, of a signature's bare star, of a keyword in `_IDLE`."""
    if operator == "NumberReplacer":
        return len(node.value) >= _LONG_NUMBER
    if operator.startswith("ReplaceBinaryOperator"):
        return bool(node.parent.type == "parameters")
    return operator in _SWITCHES and node.parent.get_code(include_prefix=False) in _IDLE


@functools.cache
def _operators() -> dict[str, Any]:
    provider = OperatorProvider()
    found = {
        name: provider[name]()
        for name in provider
        if name not in _SKIPPED and (not _IDENTITY.match(name) or name.endswith(_OPPOSITES))
    }
    return found | {"ExceptionReplacer": ReplaceException(), "RemoveStatement": RemoveStatement()}


def _annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where only types are written: a change there changes nothing that runs."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if isinstance(part, ast.expr):
                found.append(((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)))
    return found


def _mutant(file: str, line: int, operator: str, occurrence: int) -> Mutant | None:
    """The mutant, or None if nothing is changed or what comes is no Python."""
    before = _text(file)
    after = mutate_code(before, _operators()[operator], occurrence)
    try:
        if after is None or ast.dump(ast.parse(after)) == ast.dump(ast.parse(before)):
            return None
    except SyntaxError:
        return None
    rows = [row for row in difflib.ndiff(before.splitlines(), after.splitlines()) if row[0] in "-+"]
    old, new = ("\n".join(row[2:].strip() for row in rows if row[0] == sign) for sign in "-+")
    return Mutant(file, line, operator, occurrence, after, old, new)


def _acts(node: Any) -> bool:
    code = node.get_code(include_prefix=False)
    if _LOG.match(code):
        return False
    if node.type == "expr_stmt":
        target = node.children[0].get_code()
        return node.children[1].type != "annassign" and (
            "." in target or "[" in target or node.children[1].get_code().strip() != "="
        )
    return node.type in {"atom_expr", "power", "await_expr"} and code.endswith(")")


@functools.cache
def _text(file: str) -> str:
    return (ROOT / file).read_text()
