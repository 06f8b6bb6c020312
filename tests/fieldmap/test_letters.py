"""strip, replace, digits and ascii; and patterns that cannot be slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.fieldmap import FieldRule, ReplaceRule
from syncd.fieldmap.letters import LONGEST, PatternError, compile_replace, only_digits, unmarked
from syncd.model import Rejection

One = Callable[..., Any]


@pytest.mark.parametrize(
    ("characters", "text", "stripped"),
    [("-.", "- .-Ana-. -", "Ana"), ("-. ", "--", ""), ("xñ", "ñandú x", "andú"), ("-", "a-b", "a-b")],
)
def test_strip_takes_characters_off_both_ends(one: One, characters: str, text: str, stripped: str) -> None:
    assert one(FieldRule(column="a", strip=characters), text) == stripped


@pytest.mark.parametrize(
    ("rules", "text", "replaced"),
    [
        ([ReplaceRule(r"\s*ext.*$")], "300 1234567 ext 5", "300 1234567"),
        ([ReplaceRule("a", "b"), ReplaceRule("b+", "c")], "aab", "c"),
        ([ReplaceRule("(ñ)|(x)", r"<\1\2>")], "ñx", "<ñ><x>"),
        ([ReplaceRule(r"(\pL+), (\pL+)", r"\2 \1")], "Díaz, Ana", "Ana Díaz"),
        ([ReplaceRule(r"(?P<x>\d)-", r"\g<x>")], "1-2-3", "123"),
        ([ReplaceRule("(?i)bogota.*", "Bogotá")], "BOGOTA D.C.", "Bogotá"),
        ([ReplaceRule("x", "  ")], "axb", "a b"),
        ([ReplaceRule("x", "\u0301")], "ex", "é"),
        ([ReplaceRule("x", r"\\")], "x", "\\"),
        ([ReplaceRule("^$", "nothing")], "", ""),
    ],
)
def test_replace_writes_what_stands_for_a_pattern(one: One, rules: list[ReplaceRule], text: str, replaced: str) -> None:
    assert one(FieldRule(column="a", replace=rules), text) == replaced


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(a+)+$x", r"(\w*)*\d|a"])
def test_no_pattern_takes_long_for_any_text(pattern: str) -> None:
    replace = compile_replace([ReplaceRule(pattern, "x")])
    began = time.perf_counter()
    assert replace("a" * LONGEST) is not None
    assert time.perf_counter() - began < 20


def test_a_text_that_is_too_long_to_be_searched_is_refused(one: One) -> None:
    rule = FieldRule(column="a", replace=[ReplaceRule("a", "bb")])
    for text in ("x" * (LONGEST + 1), "a" * LONGEST):
        assert one(rule, text) == Rejection(
            "city", "replace", 'city: column "a" holds a text that is too long to be searched.'
        )


def test_a_text_that_is_too_long_is_not_even_searched() -> None:
    assert compile_replace([ReplaceRule("a+")])("a" * (LONGEST + 1)) is None
    assert compile_replace([ReplaceRule("a+")])("a" * LONGEST) == ""


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (ReplaceRule(""), "must not be empty"),
        (ReplaceRule("("), "missing \\)"),
        (ReplaceRule("(?=a)"), "RE2"),
        (ReplaceRule(r"(a)\1"), "RE2"),
        (ReplaceRule("\ud800"), "no text"),
        (ReplaceRule("a", r"\1"), "group 1"),
        (ReplaceRule("(a)", r"\2"), "group 2"),
        (ReplaceRule("(a)", r"\g<b>"), "group b"),
        (ReplaceRule("a", r"\d"), "doubled"),
        (ReplaceRule("a", "\\"), "doubled"),
    ],
)
def test_a_pattern_that_cannot_be_used_says_why(rule: ReplaceRule, words: str) -> None:
    with pytest.raises(PatternError, match=words):
        compile_replace([rule])


@given(st.text(max_size=20), st.sampled_from(["a", "", r"\\", r"\1", r"\g<0>", r"\12", r"\0", r"\01"]), st.text())
def test_what_is_accepted_never_fails(pattern: str, replacement: str, text: str) -> None:
    try:
        replace = compile_replace([ReplaceRule(f"({pattern})", replacement)])
    except PatternError:
        return
    replace(text.encode("utf-8", "ignore").decode())


@pytest.mark.parametrize(
    ("text", "digits"),
    [("NIT 900.123.456-7", "9001234567"), ("\uff11\u0662", "12"), ("x²½", ""), ("12", "12"), ("", "")],
)
def test_digits_keeps_the_digits_alone(one: One, text: str, digits: str) -> None:
    assert one(FieldRule(column="a", digits=True), text) == digits
    assert only_digits(text) == digits


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Ñuñoa, Bogotá, Güepsa", "Nunoa, Bogota, Guepsa"),
        ("Łódź Øre straße", "Lodz Ore strasse"),
        ("D\u2019Angelo \u2013 \u201cx\u201d", 'D\'Angelo - "x"'),
        ("1º \ufb01n ½", "1o fin 1/2"),
        ("a \u4e2d b \U0001f600", "a b"),
    ],
)
def test_ascii_writes_letters_without_marks(one: One, text: str, plain: str) -> None:
    assert one(FieldRule(column="a", ascii=True), text) == plain
    assert unmarked(text) == plain


@given(st.text())
def test_ascii_gives_ascii_and_digits_give_digits(text: str) -> None:
    assert unmarked(text).isascii()
    assert only_digits(text) == "" or (only_digits(text).isascii() and only_digits(text).isdigit())
