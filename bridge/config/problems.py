"""How a mistake finds its way from a validator to the user: its place, its words, a hint; never the value itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from bridge.config.document import Location

__all__ = ["Mistake", "mistakes_of", "raise_mistake", "raise_mistakes"]

Mistake = tuple[Location, str, str]
"""Where (from the validated thing downwards), what is wrong, and a hint (may be empty)."""

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "dict_type": "should be a mapping",
    "mapping_type": "should be a mapping",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "path_type": "should be the path of a file",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
}
# Said by pydantic of a field that it never came to, because an earlier one was wrong.
_NOISE = frozenset({"default_factory_not_called"})


def raise_mistakes(mistakes: Iterable[Mistake]) -> None:
    """Raise all of these from inside a validator; each keeps its own place. No mistakes: nothing happens.

    Raises:
        ValidationError: pydantic merges its lines into the error of the model around it.
    """
    lines = [
        InitErrorDetails(
            type=PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint}), loc=place, input=None
        )
        for place, message, hint in mistakes
    ]
    if lines:
        raise ValidationError.from_exception_data("config", lines, hide_input=True)


def raise_mistake(message: str, hint: str = "") -> NoReturn:
    """Raise one mistake about the very value that is being validated."""
    raise PydanticCustomError("mistake", "{message}", {"message": message, "hint": hint})


def mistakes_of(error: ValidationError) -> list[Mistake]:
    """All that a validation found, in plain words and without the values, which may be secrets."""
    found = error.errors(include_url=False, include_input=False)
    return [(_place(line["loc"]), *_words(line)) for line in found if line["type"] not in _NOISE]


def _place(location: tuple[int | str, ...]) -> Location:
    """Pydantic's location without its own marks (``[key]``)."""
    return tuple(part for part in location if part != "[key]")


def _words(line: Any) -> tuple[str, str]:
    context = line.get("ctx", {})
    if line["type"] == "mistake":
        return str(context["message"]), str(context["hint"])
    if line["type"] == "literal_error":
        return f"should be {context['expected']}", ""
    plain = _WORDS.get(line["type"])
    if plain is not None:
        return plain, ""
    message: str = line["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should", "should", 1), ""
