"""A site whose leads point to accounts, and these to owners."""

from __future__ import annotations

import pytest

from tests.cli.conftest import run as run
from tests.cli.conftest import site as site
from tests.support.site import FIELDS, Site

TABLES = """
CREATE SCHEMA crm;
CREATE TABLE crm.owners (id bigserial PRIMARY KEY, name text, salary numeric);
CREATE TABLE crm.accounts (id uuid PRIMARY KEY, "Name" text, owner_id bigint, tags jsonb, salary numeric);
ALTER TABLE public.leads ADD COLUMN account_id uuid;
INSERT INTO crm.owners (name) VALUES ('Olga Prueba');
INSERT INTO crm.accounts (id, "Name", owner_id, tags) VALUES
    ('00000000-0000-0000-0000-000000000001', 'Cuenta Uno', 1, '["oro"]'),
    ('00000000-0000-0000-0000-000000000002', 'Cuenta Dos', NULL, NULL);
"""
JOINS = [
    {"table": "crm.accounts", "on": "account_id", "key": "id", "as": "account"},
    {"table": "crm.owners", "on": "account.owner_id", "key": "id", "as": "owner"},
]
MAP = FIELDS | {
    "opt1": "account.Name",
    "opt2": {"template": "{owner.name}/{account.Name}"},
    "opt3": {"column": "account.tags", "path": "$[0]"},
}


@pytest.fixture
def joined(site: Site) -> Site:
    """Three leads: of an account with an owner, of one without, and of none."""
    site.execute(TABLES)
    site.execute(
        "INSERT INTO leads (document, name, mobile, account_id) VALUES"
        " ('doc-1', 'Lucía Prueba', '3000000001', '00000000-0000-0000-0000-000000000001'),"
        " ('doc-2', 'Mateo Prueba', '3000000002', '00000000-0000-0000-0000-000000000002'),"
        " ('doc-3', 'Zoe Prueba', '3000000003', NULL)"
    )
    site.write(sync__0__join=JOINS, sync__0__fields=MAP, sync__0__where="consent AND leads.id > 0")
    return site
