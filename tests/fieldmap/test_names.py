"""Names and surnames apart, by the custom of Spanish names. The names are made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.fieldmap.names import split_name


@pytest.mark.parametrize(
    ("whole", "names", "surnames"),
    [
        ("", "", ""),
        ("Ana", "Ana", ""),
        ("De la Cruz", "De la Cruz", ""),
        ("Ana Pérez", "Ana", "Pérez"),
        ("Ana de la Cruz", "Ana", "de la Cruz"),
        ("Ana Pérez Gómez", "Ana", "Pérez Gómez"),
        ("Ana María Pérez Gómez", "Ana María", "Pérez Gómez"),
        ("Ana María Luisa Pérez Gómez", "Ana María Luisa", "Pérez Gómez"),
        ("María del Carmen Gómez", "María del Carmen", "Gómez"),
        ("María del Carmen Gómez de la Torre", "María del Carmen", "Gómez de la Torre"),
        ("MARÍA DE LOS ÁNGELES RUIZ", "MARÍA DE LOS ÁNGELES", "RUIZ"),
        ("José Ortega y Gasset", "José", "Ortega y Gasset"),
        ("Luis Ruiz y de la Torre", "Luis", "Ruiz y de la Torre"),
        ("Juan Carlos del Valle Ríos", "Juan Carlos", "del Valle Ríos"),
        ("Peter von der Heide", "Peter", "von der Heide"),
        ("Anna van den Berg Pérez", "Anna", "van den Berg Pérez"),
        ("Gómez Torres, María José", "María José", "Gómez Torres"),
        ("de la Torre, Ana", "Ana", "de la Torre"),
        ("Gómez,", "", "Gómez"),
        (", Ana", "Ana", ""),
        ("Ana y", "Ana", "y"),
        ("y Ana", "y", "Ana"),
    ],
)
def test_a_name_is_taken_apart(whole: str, names: str, surnames: str) -> None:
    assert split_name(whole) == (names, surnames)


SOME = ("Ana", "de", "la", "y", "del", "Carmen", "von", "Pérez", "MARÍA", "los", "x", ",", "e")
words = st.lists(st.sampled_from(SOME), max_size=9)


@given(words)
def test_no_word_is_lost_and_none_is_added(words: list[str]) -> None:
    names, surnames = split_name(" ".join(words))
    given_words = " ".join(words).replace(",", " ").split()
    taken = f"{names} {surnames}".split() if "," not in words else f"{surnames} {names}".split()
    assert taken == given_words
    assert names or not given_words or "," in words
