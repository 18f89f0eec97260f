"""The certificates that connections out are verified by."""

from __future__ import annotations

import ssl

import pytest
import trustme

from bridge.feed.tls import client_context


def test_the_authorities_are_read_once():
    assert client_context(None) is client_context(None)
    assert client_context(None).verify_mode is ssl.CERT_REQUIRED


def test_an_authority_of_ones_own_is_added_for_whom_it_is_meant(tmp_path):
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    own = client_context(str(path))
    assert len(own.get_ca_certs()) == len(client_context(None).get_ca_certs()) + 1


def test_a_file_that_is_missing_is_an_error_each_time(tmp_path):
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            client_context(str(tmp_path / "none.pem"))
