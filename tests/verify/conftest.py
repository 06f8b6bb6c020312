"""A stage for verification: that of delivery, with a verifier upon it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.ledgers import assert_conserved
from tests.support.ledgers import home_url as home_url
from tests.support.ledgers import made_once as made_once
from tests.support.ledgers import shared_database as shared_database
from tests.verify.desk import Desk

Start = Callable[..., Desk]


@pytest.fixture
def start(home_url: str, shared_database: str) -> Iterator[Start]:
    """Set a desk with what the test wants to be different; at the end the ledger is counted again."""
    with ExitStack() as stack:
        desks: list[Desk] = []

        def starter(**options: object) -> Desk:
            desk = stack.enter_context(Desk(home_url, shared_database, **options))  # type: ignore[arg-type]  # the tests' own
            desks.append(desk)
            return desk

        yield starter
        for desk in desks:
            assert_conserved(desk.ledger)
            desk.assert_nobody_was_called_twice()


@pytest.fixture
def desk(start: Start) -> Desk:
    """A desk as it is by default."""
    return start()
