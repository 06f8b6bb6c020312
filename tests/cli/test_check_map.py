"""What `syncd check` finds wrong with a field map: all at once, from the table's types and a sample of its rows."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.support.site import FIELDS, Site

WIDE = """
DROP TABLE leads;
CREATE TABLE leads (
    id bigserial PRIMARY KEY, document text, name text, mobile text, email text, updated_at timestamptz DEFAULT now(),
    number int, photo bytea, more jsonb, remark text, code text, yes boolean, consent boolean);
CREATE INDEX ON leads (updated_at);
"""


@pytest.fixture
def wide(site: Site) -> Site:
    """A table of many types, with thirty rows."""
    site.execute(WIDE)
    site.execute(
        "INSERT INTO leads (document, name, mobile, email, number, more, remark, code)"
        " SELECT 'doc-' || i, 'Ana Prueba', '300' || lpad(i::text, 7, '0'), 'a@example.com', i, '{}', 'secreta ' || i,"
        " CASE WHEN i <= 3 THEN 'c-3'"
        " WHEN i <= 8 THEN 'c-2' ELSE 'c-1' END FROM generate_series(1, 30) AS i"
    )
    return site


def findings(run: Run, site: Site, **fields: object) -> tuple[int, list[str]]:
    """Exit status, and the errors and warnings, each with its level before it."""
    site.write(sync__0__fields=FIELDS | fields)
    said = run("check", "--no-calls", "--json")
    return said.status, [f"{one['level']}: {one['sentence']}" for one in said.json if one["level"] != "ok"]


def test_a_map_that_fits_has_nothing_to_remark(run: Run, wide: Site) -> None:
    fitting = {"city": {"column": "code", "lookup": {"c-1": "x", "c-2": "y", "c-3": "z"}}, "opt1": {"value": "web"}}
    assert findings(run, wide, **fitting) == (0, [])


def test_columns_that_are_not_there_are_told_with_the_field_that_reads_them_and_the_nearest(
    run: Run, wide: Site
) -> None:
    status, found = findings(
        run,
        wide,
        city="cod",
        opt1={"template": "{document}/{nme}"},
        opt2={"first": ["remark", "remrk"]},
        opt3={"join": ["xyz", "name"]},
        opt4={"column": "mor", "path": "$.a"},
    )
    assert status == 78
    assert len(found) == 5
    for column, field, near in (
        ("cod", "city", "code"),
        ("nme", "opt1", "name"),
        ("remrk", "opt2", "remark"),
        ("mor", "opt4", "more"),
    ):
        (one,) = [sentence for sentence in found if f"no column {column}," in sentence]
        assert f"fields.{field} reads it; did you mean {near}?" in one
    assert any("no column xyz," in sentence and "did you mean" not in sentence for sentence in found)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"column": "photo"}, "column photo has type bytea; binary data is no text"),
        ({"template": "{photo}"}, "binary data is no text"),
        ({"column": "number", "datetime": True}, "column number has type integer; datetime reads"),
        ({"column": "more", "datetime": True}, "datetime reads"),
        ({"column": "number", "path": "$.a"}, "a path leads into json"),
        ({"column": "yes", "phone": {"region": "CO"}}, "phone reads a text"),
        ({"column": "updated_at", "number": {"decimals": 2}}, "number reads a number or a text"),
    ],
)
def test_a_type_that_a_rule_cannot_take_is_an_error(run: Run, wide: Site, rule: dict[str, object], reason: str) -> None:
    status, found = findings(run, wide, **{"tel2" if "phone" in rule else "opt1": rule})
    assert status == 78
    (one,) = found
    assert one.startswith("error: ")
    assert reason in one


def test_a_type_of_a_joined_table_that_a_rule_cannot_take_is_an_error(run: Run, wide: Site) -> None:
    wide.execute("CREATE TABLE accounts (id int PRIMARY KEY, logo bytea)")
    wide.write(sync__0__join=[{"table": "accounts", "on": "number", "key": "id", "as": "account"}])
    status, found = findings(run, wide, opt1="account.logo")
    assert status == 78
    assert [one for one in found if one.startswith("error: fields.opt1: column account.logo has type bytea")]


def test_rows_that_take_too_long_to_read_are_a_warning(run: Run, wide: Site) -> None:
    wide.write(crm__statement_timeout_secs=1, sync__0__where="id = 1 OR (id < 30 AND pg_sleep(0.2) IS NULL)")
    status, found = findings(run, wide)
    assert status == 0
    (one,) = found
    assert "no rows could be looked at" in one


def test_all_faults_of_a_map_are_told_at_once(run: Run, wide: Site) -> None:
    _, found = findings(run, wide, opt1="photo", opt2="nowhere", opt3={"column": "number", "datetime": True})
    assert len(found) == 3


def test_values_that_a_lookup_has_not_are_a_warning_with_their_counts(run: Run, wide: Site) -> None:
    status, found = findings(run, wide, city={"column": "code", "case": "upper", "lookup": {"c-1": "x"}})
    assert status == 0
    missed = '"c-2" (5), "c-3" (3); add them, or a default.'
    of = "the lookup misses values of 8 of the 30 rows looked at, which are rejected"
    assert found == [f"warning: fields.city: {of}: {missed}"]
    assert findings(run, wide, city={"column": "code", "lookup": {"c-1": "x"}, "default": ""}) == (0, [])


def test_values_that_a_route_has_not_are_a_warning_too(run: Run, wide: Site) -> None:
    to = {"column": "code", "lookup": {"c-1": "12345", "c-2": "12345"}}
    wide.write(sync__0__campaign={"id": to, "type": "predictive", "status": "start"})
    status, found = findings(run, wide)
    assert status == 0
    assert len(found) == 1
    assert found[0].startswith("warning: campaign.id: the lookup misses values of 3 of the 30 rows")


def test_a_lookup_of_what_is_no_code_shows_no_value(run: Run, wide: Site) -> None:
    wide.execute(
        "INSERT INTO leads (document, mobile, remark, email) SELECT i, '3001234567', 'secreta ' || i, 'x@example.com'"
        " FROM generate_series(31, 90) AS i"
    )
    status, found = findings(run, wide, city={"column": "remark", "lookup": {"x": "X"}})
    (one,) = [sentence for sentence in found if "lookup" in sentence]
    assert status == 0
    assert "90 different ones" in one
    assert "secreta" not in one


def test_a_rule_that_takes_no_value_and_a_column_that_is_always_empty_are_warnings(run: Run, wide: Site) -> None:
    status, found = findings(
        run,
        wide,
        tel2={"column": "remark", "phone": {"region": "CO"}},
        opt1="consent",
        opt2={"column": "remark", "path": "$.a"},
        opt3={"column": "consent", "default": ""},
    )
    assert status == 0
    assert [sentence.split(":")[1].strip() for sentence in found] == ["fields.opt1", "fields.opt2", "fields.tel2"]
    assert "consent is empty in all of the 30 rows looked at" in found[0]
    assert "the rule path takes none of the 30 values" in found[1]
    assert "the rule phone takes none of the 30 values" in found[2]
    assert "secreta" not in "".join(found)
