"""Services that are started without a config take from variables what `tickbridge run` takes from them."""

from __future__ import annotations

import pytest

from bridge.config.load import load_settings
from consumers.service import Parser


def both(monkeypatch, name, text):
    variable = f"TICKBRIDGE_HTTP__{name}"
    monkeypatch.setenv(variable, text)
    return load_settings(None, {variable: text}).http, Parser("x", "", http_port=9109).parse_args([]).http


@pytest.mark.parametrize(
    "text", ["*", "a.example", "a.example, *.b.example", "[a.example, '*.b.example']", '["a.example","b.example"]']
)
def test_hosts(monkeypatch, text):
    settings, http = both(monkeypatch, "HOSTS", text)
    assert http.hosts == settings.hosts


@pytest.mark.parametrize("text", ["false", "False", "f", "no", "n", "off", "0", "true", "yes", "1", "on"])
def test_old_metric_names(monkeypatch, text):
    settings, http = both(monkeypatch, "OLD_METRIC_NAMES", text)
    assert http.old_names is settings.old_metric_names
