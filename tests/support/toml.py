"""Configurations as values: a document that is whole, changes to it, and its text."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
ABSENT = object()
"""As the new value of a key: the key is taken out."""


def document(
    crm: str = "postgresql://syncd@127.0.0.1:5432/crm", ledger: str = "sqlite:////nowhere/ledger.db"
) -> Document:
    """The least that is a configuration."""
    return {
        "crm": {"url": crm},
        "ledger": {"url": ledger},
        "wolkvox": {"server": "0042", "token_file": "token", "licenses": 5},
        "http": {"listen": "127.0.0.1:0"},
        "sync": [
            {
                "name": "web",
                "table": "public.leads",
                "key": "id",
                "watermark_column": "updated_at",
                "start": "beginning",
                "campaign": {"id": "12345", "type": "predictive", "status": "start"},
                "fields": {"customer_id": "document", "customer_name": "name", "tel1": "mobile"},
            }
        ],
    }


def changed(base: Document, changes: Mapping[str, Any]) -> Document:
    """A copy with some keys set: ``{"sync.0.where": "consent"}``; missing tables are made, `ABSENT` takes out."""
    result = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split(".")
        at: Any = result
        for parent in parents:
            at = at[int(parent)] if isinstance(at, list) else at.setdefault(parent, {})
        place: Any = int(last) if isinstance(at, list) else last
        if value is ABSENT:
            del at[place]
        else:
            at[place] = value
    return result


def text(doc: Mapping[str, Any]) -> str:
    """The document as TOML."""
    lines: list[str] = []
    scalars = {key: value for key, value in doc.items() if not isinstance(value, dict | list) or key != "sync"}
    for key, value in scalars.items():
        if isinstance(value, dict):
            lines.append(f"[{_name(key)}]")
            lines += [f"{_name(inner)} = {_value(each)}" for inner, each in value.items()]
        else:
            lines.insert(0, f"{_name(key)} = {_value(value)}")
    for sync in doc.get("sync", []):
        lines.append("[[sync]]")
        lines += [f"{_name(inner)} = {_value(each)}" for inner, each in sync.items()]
    return "\n".join(lines) + "\n"


def _name(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{_name(key)} = {_value(each)}" for key, each in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
