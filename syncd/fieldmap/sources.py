"""The two small languages of a source: paths into JSON, and templates of columns. Pure."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from string import Formatter
from typing import Final

from syncd.fieldmap.text import Unfit, clean

Path = tuple[str | int, ...]
"""Keys of objects and places in arrays, outermost first."""


class JsonString(str):
    """A string that stood by itself in a json or jsonb column: text, and no JSON to look into."""

    __slots__ = ()


_STEP: Final = re.compile(r"""\.([^.\[\]"'\s]+)|\[(-?\d{1,9})\]|\["([^"]+)"\]|\['([^']+)'\]""")


def parse_path(text: str) -> Path:
    """Read a path such as ``$.address.city``, ``$.tags[0]``, ``$["a key"]``; ``[-1]`` is the last.

    Raises:
        ValueError: saying what a path must be.
    """
    steps: list[str | int] = []
    place = 1
    while text.startswith("$") and place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            break
        steps.append(int(step[2]) if step[2] is not None else step[1] or step[3] or step[4])
        place = step.end()
    if not steps or place < len(text):
        raise ValueError('must be a path such as $.budget, $.tags[0] or $["a key"]')
    return tuple(steps)


def parse_json(text: str) -> object:
    """Decode JSON; a number with more digits than a float keeps is a Decimal.

    Raises:
        ValueError: it is none, or nested too deep.
    """
    try:
        return json.loads(text, parse_float=_number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _number(text: str) -> float | Decimal:
    number, exact = float(text), Decimal(text)
    return number if math.isfinite(number) and Decimal(repr(number)) == exact else exact


def follow(path: Path, value: object) -> object:
    """What is at `path` in a value: decoded JSON, an array, or a text column's JSON. None where there is nothing.

    Raises:
        Unfit: if it is a text that is not JSON.
    """
    if isinstance(value, str) and not isinstance(value, JsonString):
        if not value.strip():
            return None
        try:
            value = parse_json(value)
        except ValueError as error:
            raise Unfit("holds no JSON") from error
    for step in path:
        try:
            if isinstance(step, str):
                value = value.get(step) if isinstance(value, dict) else None
            else:
                value = value[step] if isinstance(value, list | tuple) else None
        except IndexError:
            return None
    return value


def parse_template(text: str) -> tuple[str, tuple[str, ...]]:
    """Read a template such as ``{first} {last}``.

    Returns:
        a format with nothing but ``{}`` in it, and the columns that fill it, in their order.

    Raises:
        ValueError: saying what a template must be.
    """
    pattern: list[str] = []
    columns: list[str] = []
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("must have a closing brace for each opening one; write a brace itself twice") from None
    for literal, column, spec, conversion in parts:
        pattern.append(literal.replace("{", "{{").replace("}", "}}"))
        if column is None:
            continue
        if spec or conversion or not column.strip() or set(column) & set("[]"):
            raise ValueError("must have columns alone in its braces, without indexes or formats")
        pattern.append("{}")
        columns.append(column)
    if not columns:
        raise ValueError("must name a column in braces; a constant is written as value")
    return clean("".join(pattern)), tuple(columns)
