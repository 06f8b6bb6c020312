"""A whole made-up site: a CRM's table in Postgres, a simulated wolkvox, secrets and a configuration, in one folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from syncd.simulator import Settings, Simulator
from tests.support.toml import Document, changed, document, text

TOKEN = "simulator-token"

TABLE = """
CREATE TABLE public.leads (
    id bigserial PRIMARY KEY,
    document text,
    name text,
    mobile text,
    email text,
    consent boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON public.leads (updated_at);
"""

FIELDS = {
    "customer_id": "document",
    "customer_name": {"column": "name", "split": "first"},
    "customer_last_name": {"column": "name", "split": "rest"},
    "tel1": {"column": "mobile", "phone": {"region": "CO", "prefix": "9"}},
    "email": {"column": "email", "case": "lower"},
}


class Site:
    """One installation.

    Args:
        crm: the URL of the CRM's database, which gets a table `leads`.
        ledger: ``"sqlite"``, or the URL of a Postgres database.
    """

    def __init__(self, folder: Path, crm: str, simulator: Simulator, ledger: str = "sqlite") -> None:
        self.folder = folder
        self.crm = crm
        self.simulator = simulator
        self.ledger_file = folder / "ledger.db"
        self.config = folder / "config.toml"
        (folder / "token").write_text(TOKEN + "\n")
        (folder / "hash-key").write_text("made-up-key-of-the-tests-0123456789\n")
        base = document(crm, f"sqlite:///{self.ledger_file}" if ledger == "sqlite" else ledger)
        changes: dict[str, Any] = {
            "wolkvox.base_url": simulator.base_url,
            "wolkvox.licenses": 50,
            "sync.0.poll_secs": 0.05,
            "sync.0.fields": FIELDS,
            "log": {"format": "json", "level": "debug"},
        }
        if ledger != "sqlite":
            changes["ledger.hash_key_file"] = "hash-key"
            changes["ledger.witness_file"] = str(folder / "witness")
        self.document: Document = changed(base, changes)
        self.write()

    def write(self, **changes: Any) -> Path:
        """Write the configuration; ``sync__0__where="consent"`` changes one key for this and later writings."""
        self.document = changed(self.document, {key.replace("__", "."): value for key, value in changes.items()})
        self.config.write_text(text(self.document))
        return self.config

    def make_table(self, statements: str = TABLE) -> None:
        """Make the CRM's table."""
        self.execute(statements)

    def execute(self, statement: str, parameters: Sequence[object] | None = None) -> None:
        """What the CRM's own people do."""
        with psycopg.connect(self.crm, autocommit=True) as connection:
            connection.execute(statement.encode(), parameters)

    def insert(self, count: int, first: int = 1) -> list[str]:
        """Insert good leads in one statement; returns their customer ids."""
        self.execute(
            "INSERT INTO leads (document, name, mobile, email) SELECT 'doc-' || i, 'Lucía Prueba ' || i,"
            " '300' || lpad(i::text, 7, '0'), 'lead' || i || '@example.com'"
            " FROM generate_series(%s::int, %s::int) AS i",
            (first, first + count - 1),
        )
        return [f"doc-{number}" for number in range(first, first + count)]

    def accepted(self, campaign: str = "12345") -> dict[str, int]:
        """How many times the simulated wolkvox accepted each lead."""
        return self.simulator.state.accepted(campaign)


@contextmanager
def simulated(**settings: Any) -> Iterator[Simulator]:
    """A simulated wolkvox with licences enough."""
    with Simulator(Settings(**{"licenses": 50, "stock": 0, **settings})) as simulator:
        yield simulator
