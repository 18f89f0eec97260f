"""Accounts: which credentials one has, its exchange declares."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, SerializeAsAny, ValidationInfo, create_model, field_validator

from bridge.config.connectors import ExchangeName, exchange_names, exchange_type
from bridge.config.values import Secret, SecretPath, Section, raise_mistake
from bridge.exchanges.api import API_KEY, API_PASSPHRASE, API_SECRET, Credential

__all__ = ["Account", "AnyAccount", "account_model", "account_of", "credentials_of"]


_USUAL = (API_KEY, API_SECRET, API_PASSPHRASE)


class Account(Section):
    """An account at an exchange. The credentials are fields of the exchange's own model of it (`account_model`)."""

    declared: ClassVar[Mapping[str, Credential]] = {}
    """The credentials there are, by name."""
    required: ClassVar[frozenset[str]] = frozenset()
    """Those of them that must be given."""

    exchange: ExchangeName
    """The exchange it is an account of."""
    subaccounts: bool = False
    """Also the messages of its sub-accounts."""

    @field_validator("*")
    @classmethod
    def _check_given(cls, value: Any, info: ValidationInfo) -> Any:
        file = str(info.field_name)
        name = file.removesuffix("_file")
        # Without the other one in the data it is a wrong one, which is said there.
        neither = value is None and name != file and info.data.get(name, file) is None
        if neither and name in cls.required:
            raise_mistake(f"give exactly one of {name} and {file}", cls.declared[name].hint)
        return value

    @property
    def credentials(self) -> dict[str, str]:
        """Name → value in plain text, of all that are given; a PEM key keeps its lines."""
        given = {name: getattr(self, name) for name in self.declared}
        return {name: secret.get_secret_value() for name, secret in given.items() if secret is not None}


def credentials_of(exchange: str) -> tuple[Credential, ...]:
    """The credentials that a registered exchange declares."""
    return tuple(exchange_type(exchange).credentials)


def account_model(exchange: Any = None) -> type[Account]:
    """The model of a registered exchange's accounts.

    As long as the exchange is unknown, an account may have every credential that there is, and must have those that
    all exchanges require.
    """
    if exchange in exchange_names():
        declared = credentials_of(exchange)
        return _made(declared, frozenset(credential.name for credential in declared if credential.required))
    known = {credential.name: credential for credential in _USUAL}
    required = set(known)
    for name in exchange_names():
        declared = credentials_of(name)
        known |= {credential.name: credential for credential in declared if credential.name not in known}
        required &= {credential.name for credential in declared if credential.required}
    return _made(tuple(known.values()), frozenset(required))


def account_of(data: Any) -> type[Account]:
    """The model of an account as it stands in the config."""
    return account_model(data.get("exchange") if isinstance(data, Mapping) else None)


@cache
def _made(declared: tuple[Credential, ...], required: frozenset[str]) -> type[Account]:
    fields: dict[str, Any] = {}
    for credential in declared:
        name, meaning = credential.name, credential.meaning
        words = f"{meaning[:1].upper()}{meaning[1:]}; or '{name}_file'."
        fields[name] = (Secret | None, Field(default=None, description=words))
        words = f"A file with {meaning}, in place of '{name}'."
        # Validated without a value too: one of the two must be there.
        fields[f"{name}_file"] = (SecretPath | None, Field(default=None, validate_default=True, description=words))
    model: type[Account] = create_model("ExchangeAccount", __base__=Account, __module__=__name__, **fields)
    model.declared = {credential.name: credential for credential in declared}
    model.required = required
    return model


def _validated(value: Any) -> Account:
    # An exception of pydantic's own inside a validator keeps the place of each of its lines.
    return value if isinstance(value, Account) else account_of(value).model_validate(value)


AnyAccount = Annotated[Account, SerializeAsAny(), PlainValidator(_validated)]
"""An account of whichever exchange."""
