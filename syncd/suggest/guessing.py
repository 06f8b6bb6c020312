"""Which column is which, by its name and by what it holds. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from syncd.record import DIALLED
from syncd.suggest import words
from syncd.suggest.seen import TIMESTAMPS, Column, Seen

REGIONS: Final = ("CO", "MX", "PE", "EC", "CL", "AR", "VE", "PA", "CR", "GT", "DO", "BO", "PY", "UY", "ES", "US", "BR")
"""Countries that a number without a country code is tried in, the likeliest first."""
_TEXTS: Final = ("text", "character varying", "character", "bpchar", "citext")
_NUMBERS: Final = ("smallint", "integer", "bigint", "numeric")
_ENOUGH: Final = 5
"""Values of which most must be numbers before a column is taken for telephones whatever its name."""
_MOST: Final = 0.8
_MOBILE: Final = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


@dataclass(frozen=True, slots=True)
class Guess:
    """A column for a wolkvox field."""

    column: Column
    why: str
    """For the comment beside it, without a full stop."""
    step: str = ""
    """``split first``, ``split rest``, ``lower`` or nothing."""


@dataclass(frozen=True, slots=True)
class Region:
    """The country of the telephones."""

    code: str
    why: str


def fields(seen: Seen) -> dict[str, Guess]:
    """A guess for each wolkvox field that some column seems to fit; telephones apart."""
    named = {column: words.words(column.name) for column in seen.columns if _can_be_text(column)}
    found = dict(_person(named, next((column for column in named if column.is_key), None)))
    for column, name in named.items():
        if "email" not in found and set(name) & words.EMAIL and not set(name) & words.NO_EMAIL:
            found["email"] = Guess(column, "by its name", "lower")
    for column in named:
        if "email" not in found and column.type in _TEXTS and _share(column.sample, _is_email) >= _MOST:
            found["email"] = Guess(column, "it holds e-mail addresses", "lower")
    for field, names in words.OTHERS.items():
        for wanted in names:
            fits = _by_core(named, {wanted})
            if fits is not None and fits not in {guess.column for guess in found.values()}:
                found[field] = Guess(fits, "by its name")
                break
    return found


def telephones(seen: Seen, region: str, taken: Iterable[Column]) -> list[Guess]:
    """Columns that hold telephones, mobiles first; as many as a record takes."""
    found: list[tuple[int, Guess]] = []
    used = set(taken)
    for column in seen.columns:
        if column in used or not column.name.strip() or column.type not in (*_TEXTS, *_NUMBERS):
            continue
        name = set(words.words(column.name))
        if name & words.TELEPHONE and not name & words.NO_TELEPHONE:
            found.append((0 if name & words.MOBILE else 1, Guess(column, "by its name")))
        elif (
            column.type in _TEXTS and not column.is_key and not name & words.DOCUMENT and _holds_numbers(column, region)
        ):
            found.append((2, Guess(column, "it holds telephone numbers")))
    return [guess for _, guess in sorted(found, key=lambda pair: pair[0])][: len(DIALLED)]


def region(seen: Seen) -> Region:
    """The country that most of the numbers are of."""
    texts = [value for column in seen.columns if _named_telephone(column) for value in column.sample]
    if not texts:
        texts = [value for column in seen.columns if column.type in _TEXTS for value in column.sample]
    abroad = Counter(code for code in (_of_country(text) for text in texts) if code is not None)
    if abroad:
        code, count = abroad.most_common(1)[0]
        return Region(code, f"most of the numbers with a country code are of {code} ({count} of {abroad.total()})")
    home = {code: sum(_is_mobile(text, code) for text in texts) for code in REGIONS}
    code = max(REGIONS, key=lambda code: home[code])
    if home[code]:
        return Region(code, f"{home[code]} of {len(texts)} sampled numbers are mobiles of {code}")
    return Region("CO", "no number was there to tell the country: CO is a mere assumption, correct it")


def watermarks(seen: Seen) -> tuple[Column | None, Column | None]:
    """The column that every change sets, and the one that only an insert sets; None where there is none."""
    moments = [column for column in seen.columns if column.type in TIMESTAMPS]
    return _named(moments, words.CHANGED), _named(moments, words.CREATED)


def key(seen: Seen) -> Column | None:
    """The column that identifies a row: the primary key, else one that is unique, else, of a view, ``id``."""
    for is_one in (lambda column: column.is_key, lambda column: column.is_unique):
        if (found := next(filter(is_one, seen.columns), None)) is not None:
            return found
    if seen.is_table:
        return None
    return next((column for column in seen.columns if words.words(column.name) == ("id",)), None)


def conditions(seen: Seen) -> Iterator[tuple[str, str]]:
    """Conditions that leads had better meet, each as SQL and why."""
    for column in seen.columns:
        name, quoted = " ".join(words.words(column.name)), quote(column.name)
        if name in words.DELETED:
            if column.type == "boolean":
                yield f"{quoted} IS NOT TRUE", f"{column.name} marks what was deleted"
            elif column.type in _NUMBERS:
                yield f"coalesce({quoted}, 0) = 0", f"{column.name} marks what was deleted"
            elif column.type in TIMESTAMPS:
                yield f"{quoted} IS NULL", f"{column.name} marks what was deleted"
        elif name in words.ARCHIVED and column.type == "boolean":
            yield f"{quoted} IS NOT FALSE", f"{column.name} seems to be false for what is put away"
        elif name in words.NOT_TO_CALL and column.type == "boolean":
            yield f"{quoted} IS NOT TRUE", f"{column.name} seems to mark who must not be called"
        elif name in words.CONSENT and column.type == "boolean":
            yield quoted, f"{column.name} seems to mark who agreed to be called"


def quote(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _person(named: dict[Column, tuple[str, ...]], own_key: Column | None) -> Iterator[tuple[str, Guess]]:
    document = next(
        (
            column
            for column, name in named.items()
            if set(name) & words.DOCUMENT and not set(name) & {"type", "tipo", "id"}
        ),
        None,
    )
    if document is None:  # "numero_id", "id_number": an id that is not a row's
        document = next(
            (column for column, name in named.items() if name in (("numero", "id"), ("id", "number"))), None
        )
    if document is not None:
        yield "customer_id", Guess(document, "by its name")
    elif own_key is not None:
        yield "customer_id", Guess(own_key, "no column looks like a document, so the row's key tells leads apart")
    first, last = _by_core(named, words.FIRST_NAME), _by_core(named, words.LAST_NAME)
    full = next((found for name in words.FULL_NAME if (found := _by_core(named, {name})) is not None), None)
    if first is None and last is not None:
        first, full = full, None
    if first is not None:
        yield "customer_name", Guess(first, "by its name")
        if last is not None:
            yield "customer_last_name", Guess(last, "by its name")
    elif full is not None:
        yield "customer_name", Guess(full, "a whole name, of which this is the first word", "split first")
        yield "customer_last_name", Guess(full, "the other words of it", "split rest")


def _core(name: tuple[str, ...]) -> str:
    """A name without the words before it that say whose it is."""
    place = 0
    while place < len(name) - 1 and name[place] in words.BEFORE:
        place += 1
    return " ".join(name[place:])


def _by_core(named: dict[Column, tuple[str, ...]], wanted: Iterable[str]) -> Column | None:
    names = set(wanted)
    return next((column for column, name in named.items() if {_core(name), " ".join(name)} & names), None)


def _named(columns: Sequence[Column], names: frozenset[str]) -> Column | None:
    found = [column for column in columns if " ".join(words.words(column.name)) in names]
    return next((column for column in found if column.is_indexed), found[0] if found else None)


def _can_be_text(column: Column) -> bool:
    return bool(column.name.strip()) and (column.type in (*_TEXTS, *_NUMBERS, "uuid", "date") or "." in column.type)


def _named_telephone(column: Column) -> bool:
    name = set(words.words(column.name))
    return bool(name & words.TELEPHONE) and not name & words.NO_TELEPHONE


def _holds_numbers(column: Column, code: str) -> bool:
    return len(column.sample) >= _ENOUGH and _share(column.sample, lambda text: _is_mobile(text, code)) >= _MOST


def _share(values: Sequence[str], test: Callable[[str], bool]) -> float:
    return sum(map(test, values)) / len(values) if len(values) >= _ENOUGH else 0.0


def _is_email(text: str) -> bool:
    name, at, host = text.strip().partition("@")
    return bool(name and at and "." in host and " " not in text.strip())


def _of_country(text: str) -> str | None:
    """The country of a number that names it."""
    if not text.strip().startswith("+"):
        return None
    try:
        number = phonenumbers.parse(text, None)
    except NumberParseException:
        return None
    found = phonenumbers.region_code_for_number(number)
    return str(found) if found and phonenumbers.is_valid_number(number) else None


def _is_mobile(text: str, code: str) -> bool:
    try:
        number = phonenumbers.parse(text, code)
    except NumberParseException:
        return False
    return phonenumbers.number_type(number) in _MOBILE and number.country_code == phonenumbers.country_code_for_region(
        code
    )
