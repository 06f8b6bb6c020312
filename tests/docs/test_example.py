"""config.example.toml has every key of the configuration, each explained, and loads."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from syncd import check
from syncd.cli import main
from syncd.config import Config, load, parse
from syncd.config.fields import BoolTable, DatetimeTable, FieldTable, NumberTable, PhoneTable, ReplaceTable
from tests.docs.pages import ROOT

EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8")
COMMENTED_KEY = re.compile(r"^# (?=[a-z0-9_]+ = |\[\[)", re.MULTILINE)
UNCOMMENTED = COMMENTED_KEY.sub("", EXAMPLE)
PARTS = (PhoneTable, NumberTable, DatetimeTable, BoolTable, ReplaceTable)
FIELD_RULES = {table.__name__ for table in (FieldTable, *PARTS)}


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation mentions, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def keys_of(model: type[BaseModel]) -> Iterator[tuple[str, str, FieldInfo]]:
    """(model, key, field) of a model and of all below it."""
    for key, field in model.model_fields.items():
        yield model.__name__, field.alias or key, field
        for inner in models_in(field.annotation):
            yield from keys_of(inner)


def keys_used(model: type[BaseModel], table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(model, key) of all that a document says."""
    fields = {field.alias or key: field for key, field in model.model_fields.items()}
    for key, value in table.items():
        yield model.__name__, key
        for inner in models_in(fields[key].annotation):
            for below in tables_in(value, is_map=key == "fields"):
                yield from keys_used(inner, below)


def tables_in(value: Any, *, is_map: bool) -> Iterator[Mapping[str, Any]]:
    """The tables that a value of the document holds; `is_map`: one level down, under names of the user's own."""
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, dict))
    elif isinstance(value, dict) and is_map:
        yield from (entry for entry in value.values() if isinstance(entry, dict))
    elif isinstance(value, dict):
        yield value


SECTIONS = {
    "Config": "",
    "Sync": "[[sync]]",
    "Join": "[[sync.join]]",
    "Dedupe": "[sync.dedupe]",
    "CampaignTable": "[sync.campaign]",
} | {name: f"[{name.lower()}]" for name in ("Crm", "Ledger", "Wolkvox", "Delivery", "Http", "Log")}


def comment_above(model: str, key: str) -> str:
    """The lines of prose right above the line that sets a key, commented out or not."""
    lines = EXAMPLE[EXAMPLE.index(SECTIONS[model]) :].splitlines()
    sets = re.compile(rf"(# )?{key} = |\[\[{key}\]\]$|(# )?\[\[?sync\.{key}\]\]?$")
    place = next(number for number, line in enumerate(lines) if sets.match(line))
    prose: list[str] = []
    while place > 0 and lines[place - 1].startswith("#") and not COMMENTED_KEY.match(lines[place - 1]):
        place -= 1
        prose.insert(0, lines[place].lstrip("# "))
    return " ".join(prose)


PLAIN_KEYS = sorted(
    (model, key)
    for model, key, field in keys_of(Config)
    if model not in FIELD_RULES and not (model == "Config" and key != "sync")
)


def test_the_example_loads_as_it_is_once_the_secrets_exist(tmp_path: Path) -> None:
    for secret in ("crm-password", "wolkvox-token"):
        (tmp_path / secret).write_text("made-up\n")
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE, encoding="utf-8")
    findings = list(check.offline(load(file), file))
    assert [finding.level for finding in findings] == ["ok"]


def test_the_example_as_it_is_passes_check_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for secret in ("crm-password", "wolkvox-token"):
        (tmp_path / secret).write_text("made-up\n")
    file = tmp_path / "config.toml"
    file.write_text(EXAMPLE, encoding="utf-8")
    assert main(["check", "--offline", "--config", str(file)]) == 0, capsys.readouterr().err


def test_the_example_loads_with_every_optional_key_uncommented() -> None:
    assert len(COMMENTED_KEY.findall(EXAMPLE)) > 10
    parse(tomllib.loads(UNCOMMENTED), Path("config.example.toml"))


def test_the_example_has_every_key_of_the_models_and_no_other() -> None:
    in_models = {(model, key) for model, key, _ in keys_of(Config)}
    assert set(keys_used(Config, tomllib.loads(UNCOMMENTED))) == in_models


@pytest.mark.parametrize(("model", "key"), PLAIN_KEYS)
def test_each_key_is_explained_right_above_it(model: str, key: str) -> None:
    assert len(comment_above(model, key).split()) >= 3


@pytest.mark.parametrize("key", sorted({key for table in (FieldTable, *PARTS) for _, key, _ in keys_of(table)}))
def test_each_key_of_a_field_rule_is_explained_in_the_list_above_the_fields(key: str) -> None:
    assert re.search(rf"^# {{3,5}}{key} {{2,}}\S+ \S+", EXAMPLE, re.MULTILINE), key


def test_the_keys_of_a_field_rule_are_listed_in_the_order_in_which_they_apply() -> None:
    assert re.findall(r"^# {3}([a-z]+) {2,}", EXAMPLE, re.MULTILINE) == list(FieldTable.model_fields)


def test_each_default_that_the_example_states_is_the_models_own() -> None:
    stated = 0
    for model, key, field in keys_of(Config):
        default = field.get_default(call_default_factory=True)
        if model in FIELD_RULES or model == "Config" or default is PydanticUndefined:
            continue
        _, found, said = comment_above(model, key).partition("Default: ")
        if default is None:
            assert not found or said.startswith(("none", "console")), f"{model}.{key}: {said}"
        else:
            assert found, f"{model}.{key}: its default is not stated"
            shown = str(int(default)) if isinstance(default, float) else str(default)
            shown = shown.lower() if isinstance(default, bool) else shown
            assert said.split(" (")[0].rstrip(".") == shown, f"{model}.{key}"
            stated += 1
    assert stated > 15
