"""The reference of rules in docs/fields.md, made from the rules' docstrings and the examples:

python -m tests.docs.fields_reference           writes it
python -m tests.docs.fields_reference --check   says whether it is as it should be
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from syncd.config.fields import FieldTable
from tests.docs.field_examples import EXAMPLES
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "fields.md"
BEGIN = "<!-- the rules: made by `python -m tests.docs.fields_reference`, from their docstrings -->"
END = "<!-- end of the rules -->"


def reference() -> str:
    """The text between `BEGIN` and `END`."""
    return "\n".join(line for key in FieldTable.model_fields for line in section(key))


def section(key: str) -> Iterator[str]:
    """The lines about one key of a rule."""
    field = FieldTable.model_fields[key]
    yield f"### `{key}`\n"
    yield f"{field.description}\n"
    tables = list(models_in(field.annotation))
    if tables:
        yield "| Key | What it says | Default |\n|---|---|---|"
        for table in tables:
            yield from map(key_row, table.model_fields.items())
        yield ""
    yield "| Field | Rule | Row | Result |\n|---|---|---|---|"
    for name, rule, row, result in EXAMPLES[key]:
        yield f"| `{name}` | `{rule}` | {f'`{row}`' if row else 'any'} | {shown(result)} |"
    yield ""


def key_row(named: tuple[str, Any]) -> str:
    """One key of a table within a rule."""
    name, field = named
    text = " ".join(field.description.split())
    default = "required" if field.is_required() else literal(field.default)
    return f"| `{field.alias or name}` | {text} | {default} |"


def literal(value: object) -> str:
    """A default as TOML has it."""
    if value is None:
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f'`"{value}"`'


def shown(result: str) -> str:
    """What comes of an example."""
    if result.startswith("<"):
        return f"rejected: `{result.strip('<>')}`"
    return f"`{result}`" if result else "empty"


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The tables that a key's value may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def page_with(made: str, page: str) -> str:
    """A page with the reference in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def main() -> int:
    """Write the page, or with ``--check`` say whether it differs."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = page_with(reference(), page)
    if "--check" in sys.argv:
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
