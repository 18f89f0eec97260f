"""Numbers between CCXT and the streams: exact, with the exchange's own digits.

CCXT's modules read JSON by their ``safe_…`` functions, which make floats, and know no `Decimal`. These stand in for
them: ``safe_float`` returns a `Decimal`, ``safe_string`` accepts one, and ``safe_integer`` never goes through a float
where the text is a whole number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

__all__ = ["Digits", "decode", "exact", "text"]

decode: Callable[[bytes | str], Any] = msgspec.json.Decoder(float_hook=str).decode
"""JSON, with numbers that have a point or an exponent as the text that stands there.

Raises:
    MsgspecError, UnicodeDecodeError: it isn't JSON.
"""


def exact(value: Any) -> Decimal:
    """A number as CCXT has it, or its text.

    Raises:
        ArithmeticError, ValueError: it is none.
    """
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        msg = "a number that is not finite"
        raise ValueError(msg)
    return number


def text(value: Any) -> str:
    """A number as decimal text without exponent; other values as text; nothing as the empty string."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    return str(value)


def _at(holder: Any, key: Any) -> Any:
    """What CCXT's functions find under a key; ``None`` where there is nothing, or an empty text."""
    try:
        value = holder[key]
    except (LookupError, TypeError):
        return None
    return None if value == "" and isinstance(value, str) else value


def _first(holder: Any, keys: Sequence[Any]) -> Any:
    return next((value for key in keys if (value := _at(holder, key)) is not None), None)


def _text(value: Any, default: Any) -> Any:
    if isinstance(value, str):
        return value
    return default if value is None or isinstance(value, bool | Mapping | list) else text(value)


def _number(value: Any, default: Any) -> Any:
    try:
        return default if value is None or isinstance(value, bool) else exact(value)
    except (ArithmeticError, ValueError):
        return default


def _integer(value: Any, factor: Any, default: Any) -> Any:
    try:
        if factor == 1 and (isinstance(value, int) or (isinstance(value, str) and value.isdecimal())):
            return int(value)
        return default if value is None else int(exact(value) * exact(factor))
    except (ArithmeticError, ValueError):
        return default


class Digits:
    """The functions that CCXT's modules read values with; mixed into its base class."""

    number = Decimal

    @staticmethod
    def on_json_response(body: str) -> Any:
        """REST answers are read as frames are.

        Raises:
            ValueError: it isn't JSON.
        """
        return decode(body)

    @staticmethod
    def safe_float(holder: Any, key: Any, default: Any = None) -> Any:
        return _number(_at(holder, key), default)

    @staticmethod
    def safe_float_2(holder: Any, one: Any, other: Any, default: Any = None) -> Any:
        return _number(_first(holder, (one, other)), default)

    @staticmethod
    def safe_float_n(holder: Any, keys: Sequence[Any], default: Any = None) -> Any:
        return _number(_first(holder, keys), default)

    @staticmethod
    def safe_string(holder: Any, key: Any, default: Any = None) -> Any:
        return _text(_at(holder, key), default)

    @staticmethod
    def safe_string_2(holder: Any, one: Any, other: Any, default: Any = None) -> Any:
        return _text(_first(holder, (one, other)), default)

    @staticmethod
    def safe_string_n(holder: Any, keys: Sequence[Any], default: Any = None) -> Any:
        return _text(_first(holder, keys), default)

    @staticmethod
    def safe_string_lower(holder: Any, key: Any, default: Any = None) -> Any:
        value = _text(_at(holder, key), None)
        return default if value is None else value.lower()

    @staticmethod
    def safe_string_lower_2(holder: Any, one: Any, other: Any, default: Any = None) -> Any:
        value = _text(_first(holder, (one, other)), None)
        return default if value is None else value.lower()

    @staticmethod
    def safe_string_lower_n(holder: Any, keys: Sequence[Any], default: Any = None) -> Any:
        value = _text(_first(holder, keys), None)
        return default if value is None else value.lower()

    @staticmethod
    def safe_string_upper(holder: Any, key: Any, default: Any = None) -> Any:
        value = _text(_at(holder, key), None)
        return default if value is None else value.upper()

    @staticmethod
    def safe_string_upper_2(holder: Any, one: Any, other: Any, default: Any = None) -> Any:
        value = _text(_first(holder, (one, other)), None)
        return default if value is None else value.upper()

    @staticmethod
    def safe_string_upper_n(holder: Any, keys: Sequence[Any], default: Any = None) -> Any:
        value = _text(_first(holder, keys), None)
        return default if value is None else value.upper()

    @staticmethod
    def safe_integer(holder: Any, key: Any, default: Any = None) -> Any:
        return _integer(_at(holder, key), 1, default)

    @staticmethod
    def safe_integer_2(holder: Any, one: Any, other: Any, default: Any = None) -> Any:
        return _integer(_first(holder, (one, other)), 1, default)

    @staticmethod
    def safe_integer_n(holder: Any, keys: Sequence[Any], default: Any = None) -> Any:
        return _integer(_first(holder, keys), 1, default)

    @staticmethod
    def safe_integer_product(holder: Any, key: Any, factor: Any, default: Any = None) -> Any:
        return _integer(_at(holder, key), factor, default)

    @staticmethod
    def safe_integer_product_2(holder: Any, one: Any, other: Any, factor: Any, default: Any = None) -> Any:
        return _integer(_first(holder, (one, other)), factor, default)

    @staticmethod
    def safe_integer_product_n(holder: Any, keys: Sequence[Any], factor: Any, default: Any = None) -> Any:
        return _integer(_first(holder, keys), factor, default)

    @staticmethod
    def safe_timestamp(holder: Any, key: Any, default: Any = None) -> Any:
        return _integer(_at(holder, key), 1000, default)

    @staticmethod
    def safe_timestamp_2(holder: Any, one: Any, other: Any, default: Any = None) -> Any:
        return _integer(_first(holder, (one, other)), 1000, default)

    @staticmethod
    def safe_timestamp_n(holder: Any, keys: Sequence[Any], default: Any = None) -> Any:
        return _integer(_first(holder, keys), 1000, default)
