"""A good file gives a configuration; a bad one a sentence for each fault, which names file, key, value and rule."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syncd.config import Config, config_path, load
from syncd.errors import EXIT_CONFIG, ConfigError
from tests.support.toml import ABSENT, changed, document, text

WHOLE = """
[crm]
url = "postgresql://syncd@crm-db.example.com:5432/crm"
password_file = "crm-password"

[ledger]
url = "sqlite:////var/lib/syncd/ledger.db"

[wolkvox]
server = "0042"
token_file = "wolkvox-token"
licenses = 5
reserve_calls = 500
timezone = "America/Bogota"
concurrent_calls = 1
call_timeout_secs = 75

[delivery]
batch_size = 10000
max_wait_secs = 900
hours = ["Mon-Fri 07:00-19:00", "Sat 08:00-15:00"]
holidays = "CO"
on_unresolved = "hold"
verify_after_secs = 180
verify_again_secs = 600
batch_marker = "opt12"

[http]
listen = "127.0.0.1:9464"

[log]
format = "json"
level = "info"

[[sync]]
name = "web-leads"
table = "public.leads"
key = "id"
capture = "poll"
watermark_column = "updated_at"
poll_secs = 5
lookback_secs = 300
sweep_secs = 3600
start = "now"
where = "consent AND status = 'new'"
resend = "never"
require = ["customer_id", "tel1"]
dedupe = { by = "tel1", within_hours = 24 }

[sync.campaign]
id = "12345"
type = "predictive"
status = "start"

[sync.fields]
customer_id = "document_number"
customer_name = { column = "full_name", split = "first" }
customer_last_name = { column = "full_name", split = "rest" }
tel1 = { column = "mobile", phone = { region = "CO", format = "national", prefix = "9" } }
email = { column = "email", case = "lower" }
city = { column = "city_code", lookup = { "05001" = "Medellín", "11001" = "Bogotá" }, default = "" }
recall_date = { column = "callback_at", datetime = true }
opt1 = { value = "web" }
opt2 = { template = "{utm_source}/{utm_campaign}", max = 100 }
opt3 = { column = "attributes", path = "$.budget" }
"""
"""The example of the design."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def loaded(file: Path, **changes: Any) -> Config:
    """The least configuration with some keys set, read from a file."""
    file.write_text(text(changed(document(), {key.replace("__", "."): value for key, value in changes.items()})))
    return load(file)


def faults(file: Path) -> list[str]:
    """What is said of a file, less the file's name, with which each sentence begins."""
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert caught.value.exit_status == EXIT_CONFIG == 78
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(problem.startswith(f"{file}: ") for problem in caught.value.problems)
    assert all("\n" not in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def faults_with(file: Path, changes: dict[str, Any]) -> list[str]:
    """What is said of the least configuration with some keys set."""
    file.write_text(text(changed(document(), changes)))
    return faults(file)


# -- what is right -----------------------------------------------------------------------------------------------


def test_the_example_of_the_design_loads_as_it_is_written(file: Path) -> None:
    file.write_text(WHOLE)
    config = load(file)
    assert config.crm.password_file == Path("crm-password")
    assert config.wolkvox.address == "https://wv0042.wolkvox.com"
    assert config.wolkvox.zone == ZoneInfo("America/Bogota")
    assert config.delivery.batch_marker == "opt12"
    assert config.http.address == ("127.0.0.1", 9464)
    (sync,) = config.sync
    assert sync.relation == ("public", "leads")
    assert sync.dedupe is not None
    assert (sync.dedupe.by, sync.dedupe.within_hours, sync.dedupe.across) == (["tel1"], 24, False)
    assert sync.fields["customer_id"].column == "document_number"
    assert sync.fields["city"].lookup == {"05001": "Medellín", "11001": "Bogotá"}
    assert set(sync.fields) >= {"opt1", "opt2", "opt3", "recall_date"}


def test_what_is_left_out_has_the_defaults_of_the_design(file: Path) -> None:
    least = document()
    for table in ("ledger", "http"):
        del least[table]
    del least["sync"][0]["start"]
    file.write_text(text(least))
    config = load(file)
    assert config.ledger.url == "sqlite:////var/lib/syncd/ledger.db"
    assert (config.wolkvox.reserve_calls, config.wolkvox.timezone) == (0, "America/Bogota")
    assert (config.wolkvox.concurrent_calls, config.wolkvox.call_timeout_secs) == (1, 75)
    assert (config.delivery.batch_size, config.delivery.max_wait_secs) == (10_000, 900)
    assert (config.delivery.hours, config.delivery.holidays) == ([], None)
    assert config.delivery.on_unresolved == "hold"
    assert (config.delivery.verify_after_secs, config.delivery.verify_again_secs) == (180, 600)
    assert config.http.listen == "127.0.0.1:9464"
    assert (config.log.format, config.log.level) == (None, "info")
    (sync,) = config.sync
    assert (sync.capture, sync.start, sync.resend) == ("poll", "now", "never")
    assert (sync.poll_secs, sync.lookback_secs, sync.sweep_secs) == (5, 300, 3600)


def test_nothing_can_be_changed_after_loading(file: Path) -> None:
    config = loaded(file)
    with pytest.raises(ValueError, match="frozen"):
        config.crm.url = "postgresql://elsewhere/crm"  # type: ignore[misc]  # this is the point


@pytest.mark.parametrize(
    ("start", "instant"),
    [
        ("2026-11-01T00:00:00-05:00", datetime(2026, 11, 1, 5, tzinfo=UTC)),
        ("2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01 00:00:00.250+05:45", datetime(2026, 10, 31, 18, 15, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_start_may_be_an_instant_in_quotes_or_as_toml_writes_one(file: Path, start: str, instant: datetime) -> None:
    assert loaded(file, sync__0__start=start).sync[0].start == instant
    file.write_text(file.read_text().replace(f'"{start}"', start))
    read = load(file).sync[0].start
    assert isinstance(read, datetime)
    assert read - instant == timedelta(0)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("", None),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("127.8.8.8:1", ("127.8.8.8", 1)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_the_pages_may_be_on_any_loopback_address_or_nowhere(
    file: Path, listen: str, address: tuple[str, int] | None
) -> None:
    assert loaded(file, http__listen=listen).http.address == address


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8642", "http://localhost", "http://[::1]:8642/", "https://proxy.example.com/wv"]
)
def test_calls_may_go_elsewhere_over_https_or_on_loopback(file: Path, address: str) -> None:
    assert loaded(file, wolkvox__base_url=address).wolkvox.address == address.rstrip("/")


def test_a_table_without_a_schema_is_in_public(file: Path) -> None:
    assert loaded(file, sync__0__table="Leads").sync[0].relation == ("public", "Leads")
    assert loaded(file, sync__0__table="crm.Leads de hoy").sync[0].relation == ("crm", "Leads de hoy")


def test_the_file_is_the_one_given_else_that_of_the_environment_else_the_usual_one() -> None:
    environ = {"SYNCD_CONFIG": "/elsewhere.toml"}
    assert config_path("/given.toml", environ) == Path("/given.toml")
    assert config_path(None, environ) == Path("/elsewhere.toml")
    assert config_path(None, {}) == Path("/etc/syncd/config.toml")


# -- the file itself ---------------------------------------------------------------------------------------------


def test_a_missing_file_is_said_with_the_way_out(file: Path) -> None:
    assert faults(file) == [
        "there is no such file; give its path with --config, or copy config.example.toml there",
    ]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert faults(tmp_path) == ["cannot be read: Is a directory"]


def test_a_file_that_may_not_be_read_is_said(file: Path) -> None:
    loaded(file)
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    assert faults(file) == ["cannot be read: Permission denied"]
    assert stat.S_IMODE(file.stat().st_mode) == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[crm]\nurl = 'caf\xe9'\n", "is not UTF-8 text"),
        (b"[crm\n", "is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 5)"),
        (b"[crm]\nurl = yes\n", "is not valid TOML: Invalid value (at line 2, column 7)"),
        (b"[crm]\n[crm]\n", "is not valid TOML: Cannot declare ('crm',) twice (at line 2, column 5)"),
        (b"n = " + b"9" * 5000, "is not valid TOML: a number is too long, or tables are nested too deep"),
        (b"n = " + b"[" * 5000, "is not valid TOML: a number is too long, or tables are nested too deep"),
    ],
)
def test_a_file_that_is_no_toml_says_where(file: Path, content: bytes, sentence: str) -> None:
    file.write_bytes(content)
    assert faults(file) == [sentence]


def test_an_empty_file_lacks_the_tables_that_have_no_defaults(file: Path) -> None:
    file.write_text("")
    assert faults(file) == [f"{table}: is missing; it has no default" for table in ("crm", "wolkvox", "sync")]


# -- one bad value -----------------------------------------------------------------------------------------------

INSTANT = 'must be "now", "beginning" or an instant with its offset, such as 2026-11-01T00:00:00-05:00'
PASSWORD = "must not hold a password; put it in a file of its own and name that in password_file"
ADDRESS = "must be an address, with a number for its port; a / or @ in a name is written %2F or %40"
HTTPS = "must be https: over plain http the token could be read on the way (loopback excepted)"
LISTEN = "must be HOST:PORT, such as 127.0.0.1:9464"
WHOLE_NUMBER = "must be a whole number, without quotes"
HOLIDAYS = 'must be the two letters of a country that has a calendar here, such as "CO"'
ZONE = "must be a time zone of the IANA database, such as America/Bogota"
NAME = "must be lower-case letters, digits, - and _, at most 63 of them"

BAD: list[tuple[str, Any, str]] = [
    # crm
    ("crm.url", ABSENT, "crm.url: is missing; it has no default"),
    ("crm.url", 5, "crm.url = 5: must be a text, in quotes"),
    ("crm.url", "mysql://h/db", 'crm.url = "mysql://h/db": must begin with postgresql://'),
    (
        "crm.url",
        "postgresql://u@h",
        'crm.url = "postgresql://u@h": must name the database, as in postgresql://user@host:5432/database',
    ),
    ("crm.url", "postgresql://u@[h/db", f'crm.url = "postgresql://u@[h/db": {ADDRESS}'),
    ("crm.url", "postgresql://u@h:x/db", f'crm.url = "postgresql://u@h:x/db": {ADDRESS}'),
    ("crm.password_file", 5, "crm.password_file = 5: must be a path, in quotes"),
    ("crm.statement_timeout_secs", 0, "crm.statement_timeout_secs = 0: must be greater than or equal to 1"),
    ("crm.statement_timeout_secs", 3601, "crm.statement_timeout_secs = 3601: must be less than or equal to 3600"),
    ("crm.statement_timeout_secs", "30", f'crm.statement_timeout_secs = "30": {WHOLE_NUMBER}'),
    ("crm.statement_timeout_secs", True, f"crm.statement_timeout_secs = true: {WHOLE_NUMBER}"),
    ("crm.statement_timeout_secs", 1.5, f"crm.statement_timeout_secs = 1.5: {WHOLE_NUMBER}"),
    # ledger
    (
        "ledger.url",
        "sqlite:///ledger.db",
        (
            'ledger.url = "sqlite:///ledger.db": must give an absolute path, with four slashes: '
            "sqlite:////var/lib/syncd/ledger.db"
        ),
    ),
    ("ledger.url", "mysql://h/db", 'ledger.url = "mysql://h/db": must begin with sqlite://// or postgresql://'),
    (
        "ledger.url",
        "postgresql://h/db",
        "ledger: hash_key_file is required with a Postgres ledger; make one with: head -c 32 /dev/urandom | base64",
    ),
    # wolkvox
    (
        "wolkvox.server",
        "wv0042.wolkvox.com",
        'wolkvox.server = "wv0042.wolkvox.com": must be the server\'s number, such as 0042 of wv0042.wolkvox.com',
    ),
    ("wolkvox.server", 42, "wolkvox.server = 42: must be a text, in quotes"),
    ("wolkvox.token_file", ABSENT, "wolkvox.token_file: is missing; it has no default"),
    ("wolkvox.licenses", ABSENT, "wolkvox.licenses: is missing; it has no default"),
    ("wolkvox.licenses", 0, "wolkvox.licenses = 0: must be greater than or equal to 1"),
    ("wolkvox.licenses", 100_001, "wolkvox.licenses = 100001: must be less than or equal to 100000"),
    ("wolkvox.reserve_calls", -1, "wolkvox.reserve_calls = -1: must be greater than or equal to 0"),
    (
        "wolkvox.reserve_calls",
        5000,
        "wolkvox: reserve_calls = 5000 leaves nothing of the 5000 calls a day that the licences give",
    ),
    ("wolkvox.timezone", "Bogota", f'wolkvox.timezone = "Bogota": {ZONE}'),
    ("wolkvox.timezone", "../../etc/passwd", f'wolkvox.timezone = "../../etc/passwd": {ZONE}'),
    ("wolkvox.concurrent_calls", 3, "wolkvox.concurrent_calls = 3: must be 1 or 2"),
    ("wolkvox.call_timeout_secs", 0, "wolkvox.call_timeout_secs = 0: must be greater than or equal to 1"),
    ("wolkvox.call_timeout_secs", 601, "wolkvox.call_timeout_secs = 601: must be less than or equal to 600"),
    ("wolkvox.base_url", "http://wv.example.com", f'wolkvox.base_url = "http://wv.example.com": {HTTPS}'),
    ("wolkvox.base_url", "http://127.0.0.1.nip.io", f'wolkvox.base_url = "http://127.0.0.1.nip.io": {HTTPS}'),
    ("wolkvox.base_url", "http://0.0.0.0:8642", f'wolkvox.base_url = "http://0.0.0.0:8642": {HTTPS}'),
    (
        "wolkvox.base_url",
        "wv0042.wolkvox.com",
        'wolkvox.base_url = "wv0042.wolkvox.com": must be an address such as https://wv0042.wolkvox.com',
    ),
    # delivery
    ("delivery.batch_size", 0, "delivery.batch_size = 0: must be greater than or equal to 1"),
    ("delivery.batch_size", 10_001, "delivery.batch_size = 10001: must be less than or equal to 10000"),
    ("delivery.max_wait_secs", 0, "delivery.max_wait_secs = 0: must be greater than or equal to 1"),
    ("delivery.max_wait_secs", 86_401, "delivery.max_wait_secs = 86401: must be less than or equal to 86400"),
    ("delivery.hours", "Mon 07:00-19:00", 'delivery.hours = "Mon 07:00-19:00": must be a list, such as ["..."]'),
    (
        "delivery.hours",
        ["Mon 7-19"],
        'delivery.hours = [\'Mon 7-19\']: has "Mon 7-19"; must be written like "Mon-Fri 07:00-19:00"',
    ),
    (
        "delivery.hours",
        ["Lun 07:00-19:00"],
        (
            'delivery.hours = [\'Lun 07:00-19:00\']: has "Lun 07:00-19:00", where "Lun" is no day; the days are '
            "Mon, Tue, Wed, Thu, Fri, Sat, Sun"
        ),
    ),
    (
        "delivery.hours",
        ["Mon 07:00-24:30"],
        "delivery.hours = ['Mon 07:00-24:30']: has \"Mon 07:00-24:30\", where 24:30 is no time of day (00:00 to 24:00)",
    ),
    (
        "delivery.hours",
        ["Mon 19:00-07:00"],
        (
            "delivery.hours = ['Mon 19:00-07:00']: has \"Mon 19:00-07:00\", which ends before it begins; write two "
            "entries, one up to 24:00"
        ),
    ),
    ("delivery.holidays", "Colombia", f'delivery.holidays = "Colombia": {HOLIDAYS}'),
    ("delivery.holidays", "", f'delivery.holidays = "": {HOLIDAYS}'),
    (
        "delivery.on_unresolved",
        "retry",
        "delivery.on_unresolved = \"retry\": must be 'hold', 'assume-delivered' or 'resend'",
    ),
    ("delivery.verify_after_secs", 59, "delivery.verify_after_secs = 59: must be greater than or equal to 60"),
    ("delivery.verify_again_secs", 59, "delivery.verify_again_secs = 59: must be greater than or equal to 60"),
    ("delivery.batch_marker", "opt13", 'delivery.batch_marker = "opt13": must be one of opt1 to opt12'),
    ("delivery.batch_marker", "tel1", 'delivery.batch_marker = "tel1": must be one of opt1 to opt12'),
    # http, log
    (
        "http.listen",
        "0.0.0.0:9464",
        'http.listen = "0.0.0.0:9464": must be a loopback address: the pages have no password; put a proxy before it',
    ),
    ("http.listen", "9464", f'http.listen = "9464": {LISTEN}'),
    ("http.listen", "127.0.0.1:65536", f'http.listen = "127.0.0.1:65536": {LISTEN}'),
    ("http.listen", "127.0.0.1:²", f'http.listen = "127.0.0.1:²": {LISTEN}'),
    ("log.format", "xml", "log.format = \"xml\": must be 'json' or 'console'"),
    ("log.level", "warn", "log.level = \"warn\": must be 'debug', 'info', 'warning' or 'error'"),
    # sync
    ("sync.0.name", "Web Leads", f"sync 'Web Leads': name = \"Web Leads\": {NAME}"),
    ("sync.0.name", "", f"sync '': name = \"\": {NAME}"),
    ("sync.0.name", "a" * 64, f"sync '{'a' * 64}': name = \"{'a' * 64}\": {NAME}"),
    ("sync.0.name", ABSENT, "sync number 1: name: is missing; it has no default"),
    ("sync.0.table", "", "sync 'web': table = \"\": must not be empty"),
    ("sync.0.key", "", "sync 'web': key = \"\": must not be empty"),
    ("sync.0.key", ABSENT, "sync 'web': key: is missing; it has no default"),
    ("sync.0.crm_name", "Web Leads", f"sync 'web': crm_name = \"Web Leads\": {NAME}"),
    ("sync.0.crm_name", "", f"sync 'web': crm_name = \"\": {NAME}"),
    ("sync.0.capture", "trigger", "sync 'web': capture = \"trigger\": must be 'poll', 'listen' or 'slot'"),
    ("sync.0.watermark_column", ABSENT, "sync 'web': watermark_column is required with capture = \"poll\""),
    ("sync.0.watermark_column", "", "sync 'web': watermark_column = \"\": must not be empty"),
    ("sync.0.poll_secs", 0.01, "sync 'web': poll_secs = 0.01: must be greater than or equal to 0.05"),
    ("sync.0.poll_secs", 3601, "sync 'web': poll_secs = 3601: must be less than or equal to 3600"),
    ("sync.0.poll_secs", "5", "sync 'web': poll_secs = \"5\": must be a number, without quotes"),
    ("sync.0.lookback_secs", -1, "sync 'web': lookback_secs = -1: must be greater than or equal to 0"),
    ("sync.0.lookback_secs", 604_801, "sync 'web': lookback_secs = 604801: must be less than or equal to 604800"),
    ("sync.0.sweep_secs", 0, "sync 'web': sweep_secs = 0: must be greater than or equal to 1"),
    ("sync.0.sweep_secs", 604_801, "sync 'web': sweep_secs = 604801: must be less than or equal to 604800"),
    ("sync.0.start", "yesterday", f"sync 'web': start = \"yesterday\": {INSTANT}"),
    ("sync.0.start", "2026-11-01T00:00:00", f"sync 'web': start = \"2026-11-01T00:00:00\": {INSTANT}"),
    ("sync.0.start", 5, f"sync 'web': start = 5: {INSTANT}"),
    ("sync.0.where", "", "sync 'web': where = \"\": must not be empty"),
    ("sync.0.resend", "always", "sync 'web': resend = \"always\": must be 'never' or 'when-changed'"),
    ("sync.0.require", "tel1", 'sync \'web\': require = "tel1": must be a list, such as ["..."]'),
    ("sync.0.require", ["tel9"], "sync 'web': fields.tel9: must be mapped: the sync's require names it"),
    (
        "sync.0.dedupe",
        {"by": "tel2", "within_hours": 1},
        "sync 'web': dedupe.by = \"tel2\" is not among the mapped fields",
    ),
    (
        "sync.0.dedupe",
        {"by": ["tel", "opt9"], "within_hours": 1},
        "sync 'web': dedupe.by = \"opt9\" is not among the mapped fields",
    ),
    ("sync.0.dedupe", {"by": [], "within_hours": 1}, "sync 'web': dedupe.by = []: must have at least one entry"),
    (
        "sync.0.dedupe",
        {"by": 5, "within_hours": 1},
        "sync 'web': dedupe.by = 5: must be a field, such as \"tel1\", or a list of them",
    ),
    (
        "sync.0.dedupe",
        {"by": "tel1", "within_hours": 0},
        "sync 'web': dedupe.within_hours = 0: must be greater than or equal to 1",
    ),
    (
        "sync.0.dedupe",
        {"by": "tel1", "within_hours": 8761},
        "sync 'web': dedupe.within_hours = 8761: must be less than or equal to 8760",
    ),
    ("sync.0.dedupe", {"by": "tel1"}, "sync 'web': dedupe.within_hours: is missing; it has no default"),
    (
        "sync.0.campaign.id",
        "mine",
        "sync 'web': campaign.id = \"mine\": must be the campaign's number in wolkvox: up to 18 digits, in quotes",
    ),
    ("sync.0.campaign.id", 12345, "sync 'web': campaign.id = 12345: must be a text, in quotes"),
    ("sync.0.campaign.type", "manual", "sync 'web': campaign.type = \"manual\": must be 'predictive' or 'preview'"),
    ("sync.0.campaign.status", ABSENT, "sync 'web': campaign.status: is missing; it has no default"),
    ("sync.0.campaign.status", "go", "sync 'web': campaign.status = \"go\": must be 'start' or 'stop'"),
    ("sync.0.campaign", ABSENT, "sync 'web': campaign: is missing; it has no default"),
    # the field map
    ("sync.0.fields", {}, "sync 'web': fields: must have at least one entry"),
    ("sync.0.fields.email", 5, "sync 'web': fields.email = 5: must be a table"),
    (
        "sync.0.fields.email",
        {"column": "a", "value": "b"},
        (
            "sync 'web': fields.email = \"column and value\": "
            "must have exactly one source: column, value, template, first or join"
        ),
    ),
    ("sync.0.fields.tel11", "a", "sync 'web': fields.tel11: must be a field of a predictive campaign"),
    (
        "sync.0.fields.customer_id",
        ABSENT,
        "sync 'web': fields.customer_id: must be mapped: wolkvox takes no lead without it",
    ),
    (
        "sync.0.fields.tel1",
        ABSENT,
        "sync 'web': fields.tel1: must be mapped, or another of tel1 to tel10: a campaign dials",
    ),
    (
        "sync.0.fields.email",
        {"column": "a", "case": "Lower"},
        "sync 'web': fields.email.case = \"Lower\": must be 'lower', 'upper' or 'title'",
    ),
    (
        "sync.0.fields.email",
        {"column": "a", "max": 0},
        "sync 'web': fields.email.max = 0: must be greater than or equal to 1",
    ),
    (
        "sync.0.fields.tel1",
        {"column": "a", "phone": {"region": "Colombia"}},
        (
            "sync 'web': fields.tel1.phone.region = \"Colombia\": must be a country as ISO 3166 writes it in capitals, "
            "such as CO"
        ),
    ),
    (
        "sync.0.fields.opt1",
        {"template": "{a"},
        (
            "sync 'web': fields.opt1.template = \"{a\": must have a closing brace for each opening one; write a brace "
            "itself twice"
        ),
    ),
    (
        "sync.0.fields.opt1",
        {"column": "a", "path": "budget"},
        'sync \'web\': fields.opt1.path = "budget": must be a path such as $.budget, $.tags[0] or $["a key"]',
    ),
    (
        "sync.0.fields.recall_date",
        {"column": "a", "datetime": 5},
        (
            "sync 'web': fields.recall_date.datetime = 5: "
            "must be true, the format of a text, such as %d/%m/%Y %H:%M, or a table of read, write and zone"
        ),
    ),
    (
        "sync.0.fields.opt1",
        {"column": "a", "lookup": {"x": 5}},
        "sync 'web': fields.opt1.lookup.x = 5: must be a text, in quotes",
    ),
]


@pytest.mark.parametrize(
    ("key", "value", "sentence"), BAD, ids=[f"{number}-{key}" for number, (key, *_) in enumerate(BAD)]
)
def test_a_bad_value_is_said_by_key_value_and_rule(file: Path, key: str, value: Any, sentence: str) -> None:
    assert faults_with(file, {key: value}) == [sentence]


def test_the_marker_of_a_call_takes_a_field_to_itself(file: Path) -> None:
    assert faults_with(file, {"delivery.batch_marker": "opt1", "sync.0.fields.opt1": "a"}) == [
        "sync 'web': fields.opt1: is taken by delivery.batch_marker; map another"
    ]


@pytest.mark.parametrize("mode", ["listen", "slot"])
def test_a_sync_that_follows_its_table_needs_no_watermark_but_for_an_instant(file: Path, mode: str) -> None:
    without = {"sync.0.capture": mode, "sync.0.watermark_column": ABSENT}
    file.write_text(text(changed(document(), without)))
    assert load(file).sync[0].watermark_column is None
    assert faults_with(file, {**without, "sync.0.start": "2026-11-01T00:00:00-05:00"}) == [
        "sync 'web': watermark_column is required where start is an instant: it tells older rows from newer ones"
    ]


def test_syncs_whose_objects_in_the_crm_would_be_called_alike_need_a_crm_name(file: Path) -> None:
    sync = document()["sync"][0]
    alike = [{**sync, "name": "web-leads", "capture": "slot"}, {**sync, "name": "web_leads", "capture": "slot"}]
    assert faults_with(file, {"sync": alike}) == [
        "sync 'web-leads': crm_name = \"web-leads\": is like that of web_leads in the CRM; set crm_name",
        "sync 'web_leads': crm_name = \"web_leads\": is like that of web-leads in the CRM; set crm_name",
    ]
    alike[1]["crm_name"] = "other"
    file.write_text(text(changed(document(), {"sync": alike})))
    assert [each.objects.slot for each in load(file).sync] == ["syncd_web_leads", "syncd_other"]


def test_two_syncs_of_one_name_are_said_once(file: Path) -> None:
    sync = document()["sync"][0]
    for count in (2, 3):
        assert faults_with(file, {"sync": [sync] * count}) == [
            "sync 'web': name = \"web\": must be used by one [[sync]] only"
        ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("crms", "crms: unknown key; did you mean crm?"),
        ("crm.urll", "crm.urll: unknown key; did you mean url?"),
        ("crm.password", "crm.password: unknown key; did you mean password_file?"),
        ("wolkvox.token", "wolkvox.token: unknown key; did you mean token_file?"),
        ("delivery.batchsize", "delivery.batchsize: unknown key; did you mean batch_size?"),
        ("sync.0.poll_sec", "sync 'web': poll_sec: unknown key; did you mean poll_secs?"),
        ("sync.0.campaign.stauts", "sync 'web': campaign.stauts: unknown key; did you mean status?"),
        ("http.zzz", "http.zzz: unknown key"),
    ],
)
def test_an_unknown_key_is_refused_and_its_value_not_shown(file: Path, key: str, hint: str) -> None:
    assert faults_with(file, {key: "hunter2"}) == [hint]


def test_an_unknown_key_in_a_field_rule_is_refused(file: Path) -> None:
    rule = {"column": "mobile", "spilt": "first", "phone": {"region": "CO", "prefx": "9"}}
    assert sorted(faults_with(file, {"sync.0.fields.tel1": rule})) == [
        "sync 'web': fields.tel1.phone.prefx: unknown key; did you mean prefix?",
        "sync 'web': fields.tel1.spilt: unknown key; did you mean split?",
    ]


def test_all_faults_of_a_file_are_said_at_once(file: Path) -> None:
    doc = document()
    doc["sync"] += document()["sync"] + document()["sync"]
    file.write_text(
        text(
            changed(
                doc,
                {
                    "crm.url": "mysql://h/db",
                    "wolkvox.licenses": "five",
                    "delivery.hours": ["never"],
                    "sync.0.fields.tel11": "a",
                    "sync.2.name": "chat",
                    "sync.2.poll_secs": 0,
                    "sync.2.campaign.status": ABSENT,
                },
            )
        )
    )
    assert faults(file) == [
        'crm.url = "mysql://h/db": must begin with postgresql://',
        'wolkvox.licenses = "five": must be a whole number, without quotes',
        'delivery.hours = [\'never\']: has "never"; must be written like "Mon-Fri 07:00-19:00"',
        "sync 'chat': poll_secs = 0: must be greater than or equal to 0.05",
        "sync 'chat': campaign.status: is missing; it has no default",
        "sync 'web': name = \"web\": must be used by one [[sync]] only",
        "sync 'web': fields.tel11: must be a field of a predictive campaign",
    ]


# -- passwords in the wrong place --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("postgresql://u:hunter2@h/db", PASSWORD),
        ("postgresql://u:@hunter2@h/db", PASSWORD),
        ("postgresql://u:hunter2@hunter2@h/db", PASSWORD),
        ("postgresql://u:hunter2:hunter2@h/db", PASSWORD),
        ("postgresql://u:hunter2/hunter2@h/db", ADDRESS),
        ("postgresql://u@h/db?password=hunter2", PASSWORD),
        ("postgresql://u@h/db?sslmode=require&password=hunter2", PASSWORD),
        ("postgresql://u@h/db?sslpassword=hunter2", PASSWORD),
        ("mysql://u:hunter2@h/db", ""),
        ("host=h dbname=db password=hunter2", ""),
        ("host=h dbname=db password = 'hunter2'", ""),
    ],
)
@pytest.mark.parametrize("key", ["crm.url", "ledger.url"])
def test_a_password_in_a_url_is_refused_and_not_shown(file: Path, key: str, url: str, rule: str) -> None:
    changes = {key: url} | ({"ledger.hash_key_file": "k"} if key == "ledger.url" else {})
    (sentence,) = faults_with(file, changes)
    assert "hunter2" not in sentence
    assert sentence.startswith(f"{key} = ")
    assert rule in sentence


def test_a_user_in_the_address_of_wolkvox_is_refused_and_not_shown(file: Path) -> None:
    (sentence,) = faults_with(file, {"wolkvox.base_url": "https://u:hunter2@example.com"})
    assert "hunter2" not in sentence
    assert "must not hold a user or a password" in sentence


def test_a_whole_table_given_as_a_url_does_not_show_its_password(file: Path) -> None:
    (sentence,) = faults_with(file, {"crm": "postgresql://u:hunter2@h/db"})
    assert sentence == 'crm = "postgresql://u:***@h/db": must be a table'


def test_a_long_value_is_cut(file: Path) -> None:
    (sentence,) = faults_with(file, {"crm.url": "x" * 5000})
    assert len(sentence) < 200
