"""What must never be allowed, whatever else a file says: see tests/sabotage."""

from __future__ import annotations

import pytest

from syncd.config import rules
from syncd.config.models import Http


@pytest.mark.parametrize("address", ["http://wv.example.com", "http://10.0.0.5:8642", "http://127.0.0.1.nip.io"])
def test_a_token_never_goes_over_plain_http_to_another_host(address: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        rules.base_url(address)


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "10.0.0.5:9464", "crm.example.com:9464"])
def test_the_pages_never_listen_to_the_network(address: str) -> None:
    with pytest.raises(ValueError, match="must be a loopback address"):
        Http(listen=address)
