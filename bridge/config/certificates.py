"""Files with certificates and keys, as settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from bridge.config.values import ReadableFile, raise_mistake
from bridge.pem import check_certificate, check_key

__all__ = ["CertificateFile", "check_client_key"]


def _certificate(path: Path) -> Path:
    _checked(check_certificate, path)
    return path


def check_client_key(path: Path, certificate: Path) -> None:
    """Raise a mistake about a key file that holds no key of this certificate."""
    _checked(check_key, path, certificate)


def _checked(check: Callable[..., None], path: Path, *more: Any) -> None:
    try:
        check(path, *more)
    except OSError as error:
        raise_mistake(f"cannot read {path.absolute()}: {error.strerror or error}")
    except ValueError as error:
        raise_mistake(f"{path.absolute()} {error}")


CertificateFile = Annotated[ReadableFile, AfterValidator(_certificate)]
"""A file with at least one certificate in PEM, an authority's or a client's own."""
