"""Which proxy is for which address, and what is wrong with some."""

from __future__ import annotations

import pytest

from bridge.config.connectors import proxies_of
from bridge.proxies import Proxies, Proxy, Route, environment_secrets

P = "http://proxy.corp:3128"


def address(environment: dict[str, str], url: str) -> str | None:
    proxy = Proxies(environment).route(url).proxy
    return proxy.address if proxy else None


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({"HTTPS_PROXY": P}, "wss://feed.example/ws", P),
        ({"HTTPS_PROXY": P}, "https://rest.example", P),
        ({"https_proxy": P}, "wss://feed.example", P),
        ({"ALL_PROXY": P}, "wss://feed.example", P),
        ({"all_proxy": "socks5h://s"}, "https://feed.example", "socks5h://s:1080"),
        ({"HTTPS_PROXY": P, "ALL_PROXY": "socks5://s"}, "wss://feed.example", P),
        ({"HTTPS_PROXY": "proxy.corp:3128"}, "wss://feed.example", P),
        ({"HTTPS_PROXY": f" {P}/ "}, "wss://feed.example", P),
        ({"HTTPS_PROXY": "http://[fe80::1%25eth0]:1"}, "wss://feed.example", "http://[fe80::1%eth0]:1"),
        ({"HTTP_PROXY": P}, "wss://feed.example", None),
        ({"HTTP_PROXY": P}, "ws://feed.example", P),
        ({"HTTPS_PROXY": P, "https_proxy": ""}, "wss://feed.example", None),
        ({"HTTPS_PROXY": ""}, "wss://feed.example", None),
        ({}, "wss://feed.example", None),
        ({"HTTPS_PROXY": P, "HTTP_PROXY": P, "ALL_PROXY": P}, "ws://127.0.0.1:8080", None),
        ({"HTTPS_PROXY": P, "HTTP_PROXY": P, "ALL_PROXY": P}, "wss://localhost:8080", None),
        ({"HTTPS_PROXY": P, "HTTP_PROXY": P, "ALL_PROXY": P}, "http://[::1]:8080", None),
    ],
)
def test_the_environment_is_read_as_other_programs_read_it(environment, url, expected):
    assert address(environment, url) == expected


@pytest.mark.parametrize(
    ("exceptions", "url", "direct"),
    [
        ("*", "wss://feed.example", True),
        ("example", "wss://feed.example", True),
        (".example", "wss://feed.example", True),
        ("*.example", "wss://feed.example", True),
        ("feed.example", "wss://FEED.example.", True),
        ("feed.example", "wss://other.example", False),
        ("eed.example", "wss://feed.example", False),
        ("a.b, FEED.example ,c", "wss://feed.example", True),
        ("a.b feed.example", "wss://feed.example", True),
        ("feed.example:443", "wss://feed.example", True),
        ("feed.example:8443", "wss://feed.example", False),
        ("feed.example:8443", "wss://feed.example:8443", True),
        ("10.1.2.3", "wss://10.1.2.3:9", True),
        ("10.1.2.3:9", "wss://10.1.2.3:9", True),
        ("10.0.0.0/8", "wss://10.1.2.3", True),
        ("10.0.0.0/8", "wss://11.1.2.3", False),
        ("10.0.0.0/8", "wss://feed.example", False),
        ("fd00::/8", "wss://[fd00::1]:9", True),
        ("[fd00::1]:9", "wss://[FD00:0::1]:9", True),
        ("fd00::1", "wss://[fd00::2]:9", False),
        ("2.3", "wss://10.1.2.3", False),
        ("x/y, ::::, ., *., %", "wss://feed.example", False),
        ("", "wss://feed.example", False),
    ],
)
def test_no_proxy_excepts_domains_addresses_networks_and_ports(exceptions, url, direct):
    assert (address({"HTTPS_PROXY": P, "NO_PROXY": exceptions}, url) is None) is direct
    assert (address({"ALL_PROXY": P, "no_proxy": exceptions}, url) is None) is direct


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://hunter22:hunter33@h", "should start with http://"),
        ("http://hunter22:hunter33@", "should name a host"),
        ("http://hunter22:hunter33@h:0", "port from 1 to 65535"),
        ("http://hunter22:hunter33@h:99999", "port from 1 to 65535"),
        ("http://hunter22:hunter/33@h:1", "port from 1 to 65535|end with HOST:PORT"),
        ("http://hunter22:hunter33@h:1/path", "end with HOST:PORT"),
        ("http://hunter22:hunter33@::1:80", "in brackets"),
        ("http://hunter22:hunter%0d%0a33@h", "control characters"),
        (f"socks5://hunter22:{'hunter33' * 40}@h", "at most 255 bytes"),
    ],
)
def test_what_is_wrong_is_said_without_quoting(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        Proxy.of(text)
    with pytest.raises(ValueError, match="HTTPS_PROXY: should") as named:
        Proxies({"HTTPS_PROXY": text}).route("wss://feed.example")
    assert "hunter" not in str(caught.value) + str(named.value)


def test_no_proxy_shows_its_password():
    proxy = Proxy.of("http://me:s%40f%3Ae-word@h:1", "HTTPS_PROXY")
    assert (proxy.user, proxy.password) == ("me", "s@f:e-word")
    assert "word" not in f"{proxy!r} {proxy} {proxy.shown} {proxy.address} {Route(proxy)}"
    assert environment_secrets({"Https_Proxy": "me:word1@h", "HOME": "x:word2@h"}) == ["word1", "bWU6d29yZDE="]


def load(config, line):
    return config.load(f"connectors: [{{name: a, exchange: venue, pairs: [A-B], {line}}}]")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("proxy: 'socks5://me:hunter22@h:1'", "socks5://h:1 (connectors.a.proxy)"),
        ("proxy: none", None),
        ("proxy: ''", None),
        ("proxy: off", None),
        ("proxy: null", "http://proxy.corp:3128 (HTTPS_PROXY)"),
        ("ca_file: null", "http://proxy.corp:3128 (HTTPS_PROXY)"),
    ],
)
def test_the_setting_is_over_the_environment(config, line, expected):
    settings = load(config, line)
    proxies = proxies_of(settings.connectors[0], {"HTTPS_PROXY": P, "NO_PROXY": "h"})
    proxy = proxies.route("wss://feed.example").proxy
    assert (proxy.shown if proxy else None) == expected
    assert ("hunter22" in settings.secrets()) is ("hunter22" in line)
    assert "hunter22" not in f"{settings!r}{settings!s}"


def test_a_proxy_of_the_connectors_own_is_for_loopback_too(config):
    settings = load(config, "proxy: 'h:1'")
    assert proxies_of(settings.connectors[0], {}).route("ws://127.0.0.1:5").proxy == Proxy(
        "http", "h", 1, source="connectors.a.proxy"
    )


@pytest.mark.parametrize("value", ["ftp://me:hunter22@h", "[hunter22]", "true", "'http://me:hunter22@h:x'"])
def test_a_wrong_proxy_is_a_mistake_of_the_config(config, value):
    problems = config.problems(f"connectors: [{{name: a, exchange: venue, pairs: [A-B], proxy: {value}}}]")
    assert list(problems) == ["connectors.0.proxy"]
    assert "hunter22" not in str(problems)
