"""Where a process serves its metrics and its health, as the configuration says it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator

from bridge.config.forms import Form
from bridge.config.problems import raise_mistake
from bridge.config.section import Section

__all__ = ["HttpSettings"]

_WHOLE = re.compile(r"-?[0-9]{1,20}").fullmatch
_LAST_PORT = 65535


def _port(value: Any) -> Any:
    """``off`` is what YAML reads as false."""
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() == "off"):
        return None
    text = str(value).strip()
    if isinstance(value, bool | float) or not _WHOLE(text):
        hint = "did you mean off?" if text.lower() in ("no", "none", "never", "disabled") else ""
        raise_mistake("should be a port, 0 (any free one) to 65535, or off", hint)
    if not 0 <= int(text) <= _LAST_PORT:
        raise_mistake(f"{text} is out of range: a port is 0 (any free one) to {_LAST_PORT}", "off: none is opened")
    return int(text)


_PORT = Form(
    {"anyOf": [{"type": "integer", "minimum": 0, "maximum": _LAST_PORT}, {"enum": ["off", False]}]},
    lambda port: "off" if port is None else str(port),
)


class HttpSettings(Section):
    """Metrics, health and status over HTTP; ``port`` is ``None`` where they are off, and 0 for any free one."""

    host: str = "127.0.0.1"
    """Where metrics and health are served: one address, ``0.0.0.0`` or ``::`` for all."""
    port: Annotated[int | None, BeforeValidator(_port), _PORT] = 9108
    """``0``: any free one, which the log names; ``off``: nothing is served."""
    pair_labels: bool = False
    """Whether metrics have labels for pairs and connections."""

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if not value or value != value.strip() or any(sign in value for sign in "/ []@"):
            raise_mistake("should be an address or a host name, such as 127.0.0.1, 0.0.0.0 or ::1")
        return value

    @property
    def explicit(self) -> bool:
        """Whether the port was asked for: then not getting it is an error."""
        return "port" in self.model_fields_set
