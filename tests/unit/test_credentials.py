"""Credentials on their way: what an exchange declares, from the config to its sessions, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from bridge import exchanges
from bridge.config.load import load_with_origins
from bridge.config.schema import config_schema
from bridge.config.written import config_template, effective_settings
from bridge.connector.wiring import build_exchange
from bridge.exchanges.api import API_KEY, API_PASSPHRASE, API_SECRET, Credential, Credentials
from bridge.exchanges.limitlex import Limitlex
from bridge.recordings.secrets import Redactor
from bridge.redaction import MASK, forget_secrets, redact, register_secrets

PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPlaIVtpjT9d\n-----END PRIVATE KEY-----"
CONFIG = """
connectors: [{{name: a, exchange: phrased, pairs: [BTC-EUR], account: main}}]
accounts:
  main:
    exchange: phrased
    api_key: the-key
    api_secret_file: {folder}/phrased.secret
    api_passphrase_file: {folder}/phrased.passphrase
    wallet_address: "0x52908400098527886E0F7030069857D2E4169EE7"
"""


class Phrased(Limitlex):
    """An exchange with credentials of its own."""

    credentials: ClassVar = (
        *(API_KEY, API_SECRET, API_PASSPHRASE),
        Credential("wallet_address", "the address of the wallet", required=False),
    )


@pytest.fixture(autouse=True)
def _phrased(monkeypatch) -> Iterator[None]:
    monkeypatch.setitem(exchanges._REGISTRY, "phrased", f"{__name__}:Phrased")
    yield
    forget_secrets()


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "phrased.secret").write_text(PEM + "\n")
    (tmp_path / "phrased.passphrase").write_text("open sesame, please\n")
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(folder=tmp_path))
    return load_with_origins(path, {})


def test_they_reach_the_exchange_unchanged(loaded):
    account = build_exchange(loaded.settings, loaded.settings.connectors[0]).profile.account
    assert account == Credentials(
        "main",
        "the-key",
        PEM,
        passphrase="open sesame, please",
        others={"wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7"},
    )
    assert repr(account) == "Credentials('main')"
    assert Credentials.of("main", {}, subaccounts=True) == Credentials("main", "", "", subaccounts=True)


def test_nothing_that_people_read_holds_them(loaded):
    secrets = loaded.settings.secrets()
    assert {"the-key", PEM, "open sesame, please", "0x52908400098527886E0F7030069857D2E4169EE7"} == set(secrets)
    shown = {setting.path: setting.value for setting in effective_settings(loaded)}
    for name in ("api_key", "api_secret", "api_passphrase", "wallet_address"):
        assert shown[f"accounts.main.{name}"] == MASK
    register_secrets(secrets)
    assert redact("refused: 'open sesame, please' of the-key") == f"refused: '{MASK}' of {MASK}"
    assert redact('{"OK-ACCESS-PASSPHRASE": "unknown-1"}') == f'{{"OK-ACCESS-PASSPHRASE": "{MASK}"}}'
    assert redact('{"apiKey": "x", "privateKey": "unknown-2"}').count(MASK) == 2
    recording = Redactor(secrets)
    assert recording.sent('{"op": "order", "passphrase": "unknown-3"}') == f'{{"op": "order", "passphrase": "{MASK}"}}'
    assert recording.text("open sesame, please") == MASK


def test_the_first_config_has_them():
    text = config_template("phrased", ["BTC-EUR"])
    account = yaml.safe_load(
        "".join(line[1:] for line in text[text.index("#accounts:") :].splitlines(keepends=True)[:8])
    )
    names = ["exchange", "api_key", "api_secret_file", "api_passphrase_file", "wallet_address_file", "subaccounts"]
    assert list(account["accounts"]["main"]) == names
    assert "wallet_address_file: phrased.wallet_address    # the address of the wallet, if there is one" in text
    assert Path(account["accounts"]["main"]["api_passphrase_file"]).name == "phrased.passphrase"


def test_editors_are_told_whose_they_are():
    account = config_schema()["properties"]["accounts"]["additionalProperties"]
    assert {"api_passphrase", "wallet_address", "wallet_address_file"} <= set(account["properties"])
    branches = {each["if"]["properties"]["exchange"]["const"]: each["then"]["properties"] for each in account["allOf"]}
    assert branches["phrased"]["wallet_address"] == {
        "description": "The address of the wallet; or 'wallet_address_file'."
    }
    assert branches["lmex"]["api_passphrase"] == {"type": "null"}
