"""A stage for verification: that of delivery, with a verifier upon it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.delivery.stage import counted_again
from tests.support.ledgers import home_url as home_url
from tests.support.ledgers import made_once as made_once
from tests.support.ledgers import shared_database as shared_database
from tests.verify.desk import Desk

Start = Callable[..., Desk]


@pytest.fixture
def start(home_url: str, shared_database: str) -> Iterator[Start]:
    """Set a desk with what the test wants to be different; at the end the ledger is counted again."""
    with counted_again(Desk, home_url, shared_database) as starter:
        yield starter


@pytest.fixture
def desk(start: Start) -> Desk:
    """A desk as it is by default."""
    return start()
