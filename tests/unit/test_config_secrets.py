from __future__ import annotations

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from bridge.config import load_settings
from bridge.errors import ConfigError

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBkg4LVWM9nuwNSk\n-----END EC PRIVATE KEY-----"
SECRET = "hunter2-very-secret"


def test_a_secret_from_a_file_loses_only_its_last_newline(config, tmp_path):
    (tmp_path / "key.pem").write_text(PEM + "\n")
    settings = config.load(f"accounts: {{a: {{exchange: venue, api_key: k, api_secret_file: {tmp_path}/key.pem}}}}")
    assert settings.accounts["a"].credentials["api_secret"] == PEM


def test_a_redis_url_from_a_file(config, tmp_path):
    (tmp_path / "url").write_text(f"redis://:{SECRET}@localhost:6379/3\n")
    redis = config.load(f"redis: {{url_file: {tmp_path}/url}}").redis
    assert redis.plain_url == f"redis://:{SECRET}@localhost:6379/3"
    assert redis.address == "redis://localhost:6379/3"
    both = config.problems(f"redis: {{url: redis://x, url_file: {tmp_path}/url}}")
    assert both == {"redis.url_file": "is given together with url; give only one of them (line 1)"}


def test_what_is_wrong_with_a_files_secret_is_said_of_the_setting_that_names_the_file(config, tmp_path):
    (tmp_path / "url").write_text(f"http://:{SECRET}@localhost")
    pem = _certificate(tmp_path / "ca.pem")
    text = f"namespace: a\nredis: {{url_file: {tmp_path}/url, ca_file: {pem}}}"
    [(path, said)] = config.problems(text).items()
    assert path == "redis.url_file"
    assert said.startswith("should start with redis://")
    assert said.endswith("(line 2)")
    variable = config.problems("", TICKBRIDGE_REDIS__URL_FILE=str(tmp_path / "url"))
    assert variable["redis.url_file"].endswith("(from TICKBRIDGE_REDIS__URL_FILE)")


def test_accounts_keep_their_order_wherever_their_secrets_are(config, tmp_path):
    (tmp_path / "s").write_text("secret")
    inline, in_file = "api_key: k, api_secret: s", f"api_key: k, api_secret_file: {tmp_path}/s"
    accounts = ", ".join(
        f"{name}: {{exchange: venue, {given}}}" for name, given in [("a", inline), ("b", in_file), ("c", inline)]
    )
    assert list(config.load(f"accounts: {{{accounts}}}").accounts) == ["a", "b", "c"]


def test_secrets_show_in_no_printed_settings(config, tmp_path):
    (tmp_path / "s").write_text(SECRET + "-file")
    settings = config.load(f"""
        redis: {{url: "redis://user:{SECRET}@localhost/0"}}
        accounts:
          a: {{exchange: venue, api_key: {SECRET}-key, api_secret: {SECRET}-inline}}
          b: {{exchange: venue, api_key: {SECRET}-key, api_secret_file: {tmp_path}/s}}
    """)
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json() + settings.redis.address
    assert set(settings.secrets()) == {SECRET, f"{SECRET}-key", f"{SECRET}-inline", f"{SECRET}-file"}


@pytest.mark.parametrize(
    "text",
    [
        f"redis: {{url: 'http://:{SECRET}@h'}}",
        f"redis: {{url: '{SECRET}'}}",
        f"redis: {{url: 'redis://:{SECRET}#@h'}}",
        f"redis: {{url: 'redis://u:p@{SECRET}:x'}}",
        f"redis: {{url: ['{SECRET}']}}",
        f"redis: '{SECRET}'",
        f"connectors: [{{name: a, exchange: venue, pairs: [A-B], url: 'ws://u:{SECRET}@h'}}]",
        f"connectors: [{{name: a, exchange: venue, pairs: [A-B], url: '{SECRET}'}}]",
        f"accounts: {{a: {{exchange: venue, api_key: [{SECRET}], api_secret: {{x: {SECRET}}}}}}}",
        f"accounts: {{a: {{exchange: venue, api_key: k, api_secret: {SECRET}, api_secret_file: /none}}}}",
        f"accounts: {{a: {SECRET}}}",
        f"accounts: {{a: {{exchange: venue, api_key: k, api_secret: *{SECRET}}}}}",
        f"accounts: {{a: {{exchange: venue, api_key: k, api_secret: !{SECRET}!x y}}}}",
        f"accounts: {{a: {{exchange: venue, api_key: k, api_secret: '{SECRET}}}}}",
        f"accounts: {{a: {{exchange: venue, api_key: k, api_secret: {SECRET}: x}}}}",
        f"accounts: {{a: {{exchange: venue, api_key: k, api_secret: !!python/{SECRET} x}}}}",
    ],
)
def test_no_message_quotes_a_secret(config, text):
    with pytest.raises(ConfigError) as caught:
        config.load(text)
    chained = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert SECRET not in "".join(f"{error} {error!r}" for error in chained)


def test_no_message_quotes_a_secret_variable(config):
    with pytest.raises(ConfigError) as caught:
        load_settings(
            None, {"TICKBRIDGE_REDIS__URL": SECRET, "TICKBRIDGE_REDIS": f"*{SECRET}", "TICKBRIDGE_LOOP": SECRET}
        )
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ("api_key: k", "api_secret_file", "give exactly one of api_secret and api_secret_file"),
        ("api_secret: s", "api_key_file", "give exactly one of api_key and api_key_file"),
        ("api_key: k, api_key_file: /none, api_secret: s", "api_key_file", "cannot read /none: No such file"),
        ("api_key: '', api_secret: s", "api_key", "should not be empty"),
        ("api_key: k, api_secret_file: /none", "api_secret_file", "cannot read /none: No such file"),
        ("api_key: k, api_secret: s, exchange: vnue", "exchange", "no exchange 'vnue' (line 1; did you mean 'venue'?"),
        (
            "api_key: k, api_secret: s, subacounts: true",
            "subacounts",
            "unknown key (line 1; did you mean 'subaccounts'?",
        ),
        ("api_key: k, api_secret: s, subaccounts: maybe", "subaccounts", "should be true or false"),
    ],
)
def test_mistakes_of_an_account(config, fields, path, message):
    exchange = "" if "exchange" in fields else "exchange: venue, "
    problems = config.problems(f"accounts: {{a: {{{exchange}{fields}}}}}")
    assert list(problems) == [f"accounts.a.{path}"]
    assert problems[f"accounts.a.{path}"].startswith(message)


def test_files_of_secrets_that_will_not_do(config, tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large").write_text("x" * 70_000)
    for name, message in [("empty", "is empty"), ("binary", "is not UTF-8 text"), ("large", "is larger than 64 KiB")]:
        problems = config.problems(
            f"accounts: {{a: {{exchange: venue, api_key: k, api_secret_file: {tmp_path / name}}}}}"
        )
        assert message in problems["accounts.a.api_secret_file"]


def test_a_relative_file_is_shown_with_the_folder_it_was_looked_for_in(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problems = config.problems("accounts: {a: {exchange: venue, api_key: k, api_secret_file: none.pem}}")
    assert str(tmp_path / "none.pem") in problems["accounts.a.api_secret_file"]


@pytest.mark.parametrize("key", ["api_secret_file", "api_key_file"])
def test_a_home_that_nobody_has_is_a_file_that_is_not_there(config, key):
    given = {"api_secret_file": "api_key: k", "api_key_file": "api_secret: s"}[key]
    problems = config.problems(f"accounts: {{a: {{exchange: venue, {given}, {key}: ~no-such-user/secret}}}}")
    assert list(problems) == [f"accounts.a.{key}"]
    assert "~no-such-user/secret: No such file or directory" in problems[f"accounts.a.{key}"]


def test_an_account_name_becomes_part_of_keys(config):
    problems = config.problems("accounts: {a/b: {exchange: venue, api_key: k, api_secret: s}}")
    assert problems["accounts.a/b"].startswith("should be letters, digits")


def test_an_empty_account_lacks_its_values(config):
    assert set(config.problems("accounts:\n  main:\n")) == {
        "accounts.main.exchange",
        "accounts.main.api_key_file",
        "accounts.main.api_secret_file",
    }


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("redis://:p%40ss@h:1/0", "p@ss"),
        ("rediss://u:pw@h", "pw"),
        ("unix:///run/r.sock?db=1&password=a%26b", "a&b"),
        ("redis://h", None),
        ("redis+cluster://:p%40ss@h,i:1", "p@ss"),
        ("redis+sentinel://h,i/m?sentinel_password=a%26b", "a&b"),
    ],
)
def test_the_password_of_a_redis_url_is_known_decoded(config, url, password):
    settings = config.load(f"redis: {{url: '{url}'}}")
    assert settings.secrets() == ((password,) if password else ())
    assert not password or password not in settings.redis.address


@pytest.mark.parametrize(
    "url", ["redis://", "redis://h/x", "redis://h:99999", "unix://run/x", "REDIS//h", "redis://:a#b@h", "unix://",
     "redis+sentinel://h", "redis+cluster://h/3", "redis+cluster://h:x", "redis+other://h"],
)  # fmt: skip
def test_redis_urls_that_will_not_do(config, url):
    assert list(config.problems(f"redis: {{url: '{url}'}}")) == ["redis.url"]


def _certificate(path):
    """A certificate with its key, in one file."""
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ("url: 'redis://h', ca_file: {pem}", ["redis.ca_file"]),
        ("url: 'redis+cluster://h', cert_file: {pem}, key_file: {pem}", ["redis.cert_file", "redis.key_file"]),
        ("url: 'rediss://h', cert_file: {pem}", ["redis.key_file"]),
        ("url: 'rediss+sentinel://h/m', key_file: {pem}", ["redis.key_file"]),
        ("url: 'rediss+cluster://h', ca_file: {pem}, cert_file: {pem}, key_file: {pem}", []),
    ],
)
def test_files_for_tls(config, tmp_path, given, places):
    pem = _certificate(tmp_path / "some.pem")
    text = f"redis: {{{given.format(pem=pem)}}}"
    if places:
        assert list(config.problems(text)) == places
    else:
        assert config.load(text).redis.topology.tls
    plain = config.problems(f"redis: {{ca_file: {pem}}}")
    assert plain == {"redis.ca_file": "makes sense only with a rediss:// URL (line 1)"}


@pytest.mark.parametrize(
    ("given", "place", "said"),
    [
        ("ca_file: /etc/passwd", "redis.ca_file", "/etc/passwd holds no PEM certificate"),
        ("cert_file: /etc/passwd, key_file: {pem}", "redis.cert_file", "/etc/passwd holds no PEM certificate"),
        ("cert_file: {pem}, key_file: /etc/passwd", "redis.key_file", "/etc/passwd holds no PEM key"),
        ("cert_file: {pem}, key_file: {other}", "redis.key_file", "{other} holds the key of another certificate"),
    ],
)
def test_files_for_tls_that_hold_something_else(config, tmp_path, given, place, said):
    files = {name: _certificate(tmp_path / f"{name}.pem") for name in ("pem", "other")}
    problems = config.problems(f"redis: {{url: 'rediss://h', {given.format(**files)}}}")
    assert problems == {place: f"{said.format(**files)} (line 1)"}


def test_a_key_with_a_password_is_left_to_the_one_who_knows_it(config, tmp_path):
    """The URL may have it, as ``ssl_password``."""
    pem = _certificate(tmp_path / "some.pem")
    key = load_pem_private_key(pem.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password"))
    (tmp_path / "key.pem").write_bytes(locked)
    config.load(f"redis: {{url: 'rediss://h', cert_file: {pem}, key_file: {tmp_path}/key.pem}}")


def test_the_key_too_may_stand_in_a_file(config, tmp_path):
    file = tmp_path / "key"
    file.write_text("key-in-a-file\n")
    settings = config.load(f"accounts: {{a: {{exchange: venue, api_key_file: {file}, api_secret: s}}}}")
    assert settings.accounts["a"].credentials["api_key"] == "key-in-a-file"
    assert "key-in-a-file" in settings.secrets()
    assert "key-in-a-file" not in repr(settings)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        (
            "exchange: phrase, api_key: k, api_secret: s",
            "api_passphrase_file",
            "give exactly one of api_passphrase and api_passphrase_file (line 1; it was chosen when the API key was created;",
        ),
        (
            "exchange: venue, api_key: k, api_secret: s, api_passphrase: p",
            "api_passphrase",
            "venue takes no api_passphrase (line 1; its accounts have api_key, api_secret)",
        ),
        (
            "exchange: venue, api_key: k, api_secret: s, api_passphrase_file: /none",
            "api_passphrase_file",
            "venue takes no api_passphrase (line 1; its accounts have api_key, api_secret)",
        ),
        ("exchange: venue, api_key: k, api_secret: s, uid: 5", "uid", "venue takes no uid"),
        (
            "exchange: phrase, api_key: k, api_secret: s, api_pasphrase: p, api_passphrase: p",
            "api_pasphrase",
            "unknown key (line 1; did you mean 'api_passphrase'?)",
        ),
        (
            "exchange: phrase, api_key: k, api_secret: s, api_passphrase: p, uid: ''",
            "uid",
            "should not be empty",
        ),
        (
            "exchange: phrase, api_key: k, api_secret: s, api_passphrase: p, uid: 5, uid_file: {file}",
            "uid_file",
            "give exactly one of uid and uid_file",
        ),
    ],
)
def test_an_exchange_says_which_credentials_its_accounts_have(config, tmp_path, fields, path, message):
    (tmp_path / "file").write_text("6")
    [(place, said)] = config.problems(f"accounts: {{a: {{{fields.format(file=tmp_path / 'file')}}}}}").items()
    assert place == f"accounts.a.{path}"
    assert said.startswith(message)


def test_credentials_of_every_name_come_from_files_and_variables(config, tmp_path):
    (tmp_path / "phrase").write_text("open-sesame\n")
    (tmp_path / "uid").write_text("77001\n")
    text = f"accounts: {{a: {{exchange: phrase, api_key: k, api_secret: s, api_passphrase_file: {tmp_path}/phrase}}}}"
    settings = config.load(text, TICKBRIDGE_ACCOUNTS__A__UID_FILE=str(tmp_path / "uid"))
    given = settings.accounts["a"].credentials
    assert given == {"api_key": "k", "api_secret": "s", "api_passphrase": "open-sesame", "uid": "77001"}
    assert set(settings.secrets()) == {"k", "s", "open-sesame", "77001"}
    assert "open-sesame" not in repr(settings) + settings.model_dump_json()


def test_a_variable_chooses_between_a_credential_and_its_file(config, tmp_path):
    (tmp_path / "phrase").write_text("in the file")
    text = f"accounts: {{a: {{exchange: phrase, api_key: k, api_secret: s, api_passphrase_file: {tmp_path}/phrase}}}}"
    settings = config.load(text, TICKBRIDGE_ACCOUNTS__A__API_PASSPHRASE="in the variable")
    assert settings.accounts["a"].credentials["api_passphrase"] == "in the variable"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_private_key_keeps_its_lines_wherever_it_stands(config, tmp_path, newline):
    pem = PEM.replace("\n", newline)
    (tmp_path / "key.pem").write_bytes((pem + newline).encode())
    block = "".join(f"      {line}\n" for line in PEM.splitlines())
    for text, env, expected in [
        (f"    api_secret_file: {tmp_path}/key.pem\n", {}, pem),
        (f"    api_secret: |-\n{block}", {}, PEM),
        ("", {"TICKBRIDGE_ACCOUNTS__A__API_SECRET": pem}, pem),
    ]:
        settings = config.load(f"accounts:\n  a:\n    exchange: venue\n    api_key: k\n{text}", **env)
        assert settings.accounts["a"].credentials["api_secret"] == expected
