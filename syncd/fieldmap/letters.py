"""Steps on the characters of a text: strip, digits, ascii, replace. Pure.

Patterns are searched by RE2, whose time is linear in the text whatever the pattern: Python's own engine needs
ages for some, and whoever fills in a form on the web chooses the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from unicodedata import combining, decimal, normalize

import re2  # type: ignore[import-untyped]  # it ships no types; this module alone uses it

from syncd.fieldmap.rules import ReplaceRule
from syncd.fieldmap.text import clean

LONGEST: Final = 10_000
"""Characters of a text that patterns are searched in. Each search is linear, but as many may be made as there are
characters: with this bound, the worst takes half a second."""

_TEMPLATE: Final = re.compile(r"(\\\\|[^\\]+)|\\([0-9]{1,3})|\\g<([A-Za-z0-9_]{1,50})>", re.ASCII)
"""A piece of what is written: text or a doubled backslash, or the number or name of a group."""
_NO_DIGIT: Final = re.compile(r"[^0-9]+")
_UNMARKED: Final = str.maketrans(
    dict(zip("øØłŁđĐðÐ\u0131ħĦŧŦŋŊ", "oOlLdDdDihHtTnN", strict=True))
    | {"ß": "ss", "ẞ": "SS", "þ": "th", "Þ": "Th", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
    | dict.fromkeys("«»\u201c\u201d\u201e", '"')
    | dict.fromkeys("\u2018\u2019", "'")
    | {"\u2044": "/"}
    | dict.fromkeys("\u2010\u2011\u2013\u2014\u2212", "-")
)
"""Letters that Unicode does not take apart, and the quotes and dashes of editors."""


class PatternError(ValueError):
    """A pattern, or what is to be written for it, that cannot be used; says why."""


def only_digits(cell: str) -> str:
    """The digits of a text, in the form of ASCII; superscripts and fractions are no digits."""
    if cell.isascii():
        return cell if cell.isdigit() else _NO_DIGIT.sub("", cell)
    return "".join(str(decimal(character)) for character in cell if character.isdecimal())


def unmarked(cell: str) -> str:
    """A text in ASCII: letters without marks, what has no such form left out, whitespace folded."""
    if cell.isascii():
        return cell
    apart = normalize("NFKD", cell.translate(_UNMARKED)).translate(_UNMARKED)
    kept = "".join(character for character in apart if not combining(character))
    return clean(kept.encode("ascii", "ignore").decode())


def compile_replace(rules: Sequence[ReplaceRule]) -> Callable[[str], str | None]:
    """Make one function of all patterns, in turn.

    Returns:
        from a clean text to a clean text; None where it, or what becomes of it, is longer than `LONGEST`.

    Raises:
        PatternError: for the first that cannot be used.
    """
    compiled = [_compile(rule) for rule in rules]

    def replace(cell: str) -> str | None:
        for pattern, write in compiled:
            if len(cell) > LONGEST:
                return None
            # Most texts have nothing to replace, and a search costs a fifth of a substitution.
            if pattern.search(cell) is not None:
                cell = clean(pattern.sub(write, cell))
        return cell if len(cell) <= LONGEST else None

    return replace


def _compile(rule: ReplaceRule) -> tuple[Any, Callable[[Any], str]]:
    """The pattern, and what writes the text for a match of it."""
    options = re2.Options()
    options.log_errors = False
    if not rule.pattern:
        raise PatternError("must not be empty")
    try:
        compiled = re2.compile(rule.pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise PatternError(f"must be a regular expression as RE2 takes it ({words})") from None
    except UnicodeError:
        raise PatternError("must be a regular expression as RE2 takes it (it is no text)") from None
    return compiled, _writer(rule.replacement, compiled)


def _writer(replacement: str, compiled: Any) -> Callable[[Any], str]:
    # The package expands templates byte by byte, which breaks every letter that is not ASCII.
    parts: list[str | int] = []
    for literal, number, name in _TEMPLATE.findall(replacement):
        if literal:
            parts.append("\\" if literal == "\\\\" else literal)
            continue
        key = number or name
        group = int(key) if key.isdigit() else compiled.groupindex.get(key, compiled.groups + 1)
        if group > compiled.groups:
            raise PatternError(f"must have the group {key}, which what is written for it names")
        parts.append(group)
    if _TEMPLATE.sub("", replacement):
        raise PatternError("must be replaced by text in which a backslash is doubled, or names a group")
    if all(isinstance(part, str) for part in parts):
        fixed = "".join(map(str, parts))
        return lambda _match: fixed
    return lambda match: "".join(part if isinstance(part, str) else match.group(part) or "" for part in parts)
