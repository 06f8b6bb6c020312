"""A stage for delivery: a CRM's table, a ledger in each home, a simulated wolkvox, and a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.delivery.stage import Stage, counted_again
from tests.support.ledgers import home_url as home_url
from tests.support.ledgers import made_once as made_once
from tests.support.ledgers import shared_database as shared_database

Start = Callable[..., Stage]


@pytest.fixture
def start(home_url: str, shared_database: str) -> Iterator[Start]:
    """Set a stage with what the test wants to be different; at the end the ledger is counted again."""
    with counted_again(Stage, home_url, shared_database) as starter:
        yield starter


@pytest.fixture
def stage(start: Start) -> Stage:
    """A stage as it is by default."""
    return start()
