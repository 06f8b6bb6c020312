"""A ledger in each home, counted again at the end of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncd.ledger import Ledger
from tests.support.ledgers import Scene, assert_conserved, opened
from tests.support.ledgers import home_url as home_url
from tests.support.ledgers import made_once as made_once
from tests.support.ledgers import shared_database as shared_database


@pytest.fixture
def ledger(home_url: str) -> Iterator[Ledger]:
    """An empty ledger; at the end its tally must be what a recount says."""
    with opened(home_url) as made:
        yield made
        assert_conserved(made)


@pytest.fixture
def scene(ledger: Ledger) -> Iterator[Scene]:
    """A sync that never resends, and the lease to send for it."""
    scene = Scene(ledger)
    yield scene
    scene.lease.close()


@pytest.fixture
def resending(ledger: Ledger) -> Iterator[Scene]:
    """A sync that resends what has changed, and the lease to send for it."""
    scene = Scene(ledger, resend=True)
    yield scene
    scene.lease.close()
