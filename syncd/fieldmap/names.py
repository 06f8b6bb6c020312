"""Names and surnames of a person whose whole name is in one cell, by the custom of Spanish names. Pure.

It is a heuristic: a text does not tell whether `Juan Carlos Díaz` has two names or two surnames. What it does:

- With a comma, the surnames stand before it: `Gómez Torres, María José`.
- Particles (de, del, de la, y, von, van, ...) belong to the word after them; `y` and `e` join two words. A second
  name of devotion (`del Carmen`, `de los Ángeles`) belongs to the name before it.
- Of what is counted so, one is a name; two are a name and a surname; three a name and two surnames; of four or
  more, the last two are the surnames.

No word is lost, added or changed.
"""

from __future__ import annotations

from typing import Final
from unicodedata import normalize

_PARTICLES: Final = frozenset(
    [
        "da",
        "dal",
        "das",
        "de",
        "del",
        "della",
        "den",
        "der",
        "di",
        "do",
        "dos",
        "du",
        "el",
        "la",
        "las",
        "le",
        "lo",
        "los",
        "mac",
        "mc",
        "san",
        "santa",
        "st",
        "st.",
        "ten",
        "ter",
        "van",
        "von",
        "zu",
    ]
)
_JOINING: Final = frozenset({"y", "e", "i"})
_DEVOTIONS: Final = frozenset(
    [
        "amparo",
        "angeles",
        "carmen",
        "consuelo",
        "dios",
        "fatima",
        "guadalupe",
        "jesus",
        "lourdes",
        "mar",
        "mercedes",
        "milagros",
        "pilar",
        "refugio",
        "rocio",
        "rosario",
        "sagrario",
        "socorro",
        "sol",
        "transito",
    ]
)


def split_name(name: str) -> tuple[str, str]:
    """Names and surnames of a clean text; either may be empty."""
    before, comma, after = name.partition(",")
    if comma:
        return after.replace(",", " ").strip(), before.strip()
    units = _units(name.split())
    names = max(1, len(units) - 2) if len(units) != 2 else 1
    return " ".join(units[:names]), " ".join(units[names:])


def _units(words: list[str]) -> list[str]:
    units: list[str] = []
    waiting: list[str] = []
    for place, word in enumerate(words):
        low = _plain(word)
        is_last = place == len(words) - 1
        if low in _JOINING and units and not waiting and not is_last:
            waiting = [units.pop(), word]
        elif low in _PARTICLES and not is_last:
            waiting.append(word)
        else:
            devout = waiting and _plain(waiting[0]) in ("de", "del") and low in _DEVOTIONS and len(units) == 1
            if devout:
                waiting.insert(0, units.pop())
            units.append(" ".join([*waiting, word]))
            waiting = []
    return units


def _plain(word: str) -> str:
    low = word.lower()
    return low if low.isascii() else normalize("NFD", low).encode("ascii", "ignore").decode()
