"""Telephone numbers, against bare phonenumbers. The numbers are the library's own examples, or made up here."""

from __future__ import annotations

import random
from collections.abc import Callable

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.fieldmap import FieldMap, FieldRule, PhoneRule
from syncd.fieldmap.colombia import renewed
from syncd.fieldmap.phones import PLAIN_REGIONS, Undialable, compile_phone, plain_mobile, read
from syncd.model import Rejection

MOBILE = "3211234567"
FIXED = "6012345678"
CO = PhoneRule("CO")


def by_the_library(text: str, region: str) -> str | None:
    """The national number as bare phonenumbers reads it, if it is a valid mobile of the region's country code."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    kind = phonenumbers.number_type(number)
    mobile = phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE
    if not phonenumbers.is_valid_number(number) or kind not in mobile:
        return None
    if number.country_code != phonenumbers.country_code_for_region(region) or number.extension:
        return None
    return phonenumbers.national_significant_number(number)


@pytest.mark.parametrize("region", sorted(PLAIN_REGIONS))
def test_a_plain_mobile_is_read_as_the_library_reads_it(region: str) -> None:
    plain = plain_mobile(region)
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    digits = len(phonenumbers.national_significant_number(example))
    chance = random.Random(region)
    matched = 0
    for start in range(10_000):
        text = f"{start:04}" + "".join(chance.choices("0123456789", k=digits - 4))
        match = plain(text)
        if match is None:
            continue
        matched += 1
        assert match[1] == text
        assert by_the_library(text, region) == text
    assert matched > 200
    assert plain(phonenumbers.national_significant_number(example)) is not None


@pytest.mark.parametrize("region", sorted(PLAIN_REGIONS))
@given(data=st.data())
def test_a_mobile_with_separators_and_country_code_is_read_as_the_library_reads_it(
    region: str, data: st.DataObject
) -> None:
    code = str(phonenumbers.country_code_for_region(region))
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    mobile = phonenumbers.national_significant_number(example)
    starts = st.sampled_from([mobile[:3], mobile[:3], mobile[:1], "", "0" + mobile[:3], "00"])
    start = data.draw(starts)
    tail = len(mobile) - len(start) + data.draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    number = start + data.draw(st.text("0123456789", min_size=tail, max_size=tail))
    text = data.draw(st.sampled_from(["", "+", "+" + code, code, "(+" + code + ")"])) + number
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(st.sampled_from(" -.()")) + text[place:]
    quick = compile_phone(PhoneRule(region, kind="mobile"))(text.strip() or "x", region)
    if isinstance(quick, str):
        # A mobile of Colombia after 03 or 57 twice is one, though the library takes it for none.
        read_by_it = by_the_library(text, region) or (region == "CO" and by_the_library(f"+57{quick}", region))
        assert quick == read_by_it


@given(st.text(max_size=30) | st.from_regex(r"[+\d ().;,x/#-]{1,30}"), st.sampled_from(["CO", "US", "AR", "XX", ""]))
def test_any_text_gives_digits_or_a_reason(text: str, region: str) -> None:
    number = compile_phone(PhoneRule("CO", "e164", "9"))(text, region)
    assert isinstance(number, Undialable) or (number.isascii() and number.isdigit())


@pytest.mark.parametrize("region", ["CO", "MX", "AR", "US", "GB", "IT"])
def test_valid_is_what_the_library_calls_valid(region: str) -> None:
    chance = random.Random(region)
    for _ in range(300):
        text = "".join(chance.choices("0123456789", k=chance.randint(7, 11)))
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            assert isinstance(read(text, region), Undialable)
            continue
        valid = phonenumbers.is_valid_number(number)
        if region == "CO" and not valid and renewed(phonenumbers.national_significant_number(number)):
            continue
        expected = (number.country_code, phonenumbers.national_significant_number(number))
        assert read(text, region) == (expected if valid else Undialable.INVALID)


@pytest.mark.parametrize(
    "text",
    [
        MOBILE,
        "57" + MOBILE,
        "+57 321 123 4567",
        "(321) 123-4567",
        "321.123.4567",
        "\uff13\uff12\uff11\uff11\uff12\uff13\uff14\uff15\uff16\uff17",
        "\u202a+57 321 1234567\u202c",
        "3211234567.0",
        "tel:+573211234567",
        "3211234567 ext 12",
    ],
)
@pytest.mark.parametrize(
    ("rule", "dialled"),
    [
        (CO, "3211234567"),
        (PhoneRule("CO", prefix="9"), "93211234567"),
        (PhoneRule("CO", format="e164"), "573211234567"),
        (PhoneRule("CO", format="e164", prefix="9", kind="mobile"), "9573211234567"),
    ],
)
def test_a_number_is_dialled_alike_however_it_is_written(text: str, rule: PhoneRule, dialled: str) -> None:
    assert compile_phone(rule)(text, "CO") == dialled


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no tiene", Undialable.NO_NUMBER),
        ("-", Undialable.NO_NUMBER),
        ("321 123 CASA", Undialable.LETTERS),
        ("3211234567 / 3211234568", Undialable.SEVERAL),
        ("3211234567/3211234568", Undialable.SEVERAL),
        ("3211234567, 6012345678", Undialable.SEVERAL),
        ("3211234567;3211234568", Undialable.SEVERAL),
        ("3211234567 3211234568", Undialable.SEVERAL),
        ("3211234567 - 3211234568", Undialable.SEVERAL),
        ("3211234567 y 3211234568", Undialable.SEVERAL),
        ("3211234567x3211234", Undialable.SEVERAL),
        ("0000000000", Undialable.INVALID),
        ("321123456", Undialable.INVALID),
        ("+1 202 555 0123", Undialable.ABROAD),
    ],
)
def test_what_is_not_one_number_of_the_country_is_not_dialled(text: str, why: Undialable) -> None:
    assert compile_phone(CO)(text, "CO") is why


def test_the_kind_that_is_wanted_is_the_kind_that_is_dialled() -> None:
    assert compile_phone(PhoneRule("CO", kind="mobile"))(FIXED, "CO") is Undialable.NOT_MOBILE
    assert compile_phone(PhoneRule("CO", kind="fixed"))(MOBILE, "CO") is Undialable.NOT_FIXED
    assert compile_phone(PhoneRule("CO", kind="fixed"))(FIXED, "CO") == FIXED
    assert compile_phone(PhoneRule("US", kind="fixed"))("2025550123", "US") == "2025550123"


def test_a_number_abroad_can_be_dialled_with_its_country_code() -> None:
    assert compile_phone(PhoneRule("CO", format="e164"))("+1 202 555 0123", "CO") == "12025550123"


def test_the_region_of_a_row_reads_its_number_and_an_empty_one_is_home(
    compiled: Callable[..., FieldMap],
) -> None:
    rule = FieldRule(column="mobile", phone=PhoneRule("CO", format="e164", region_column="country"))
    field_map = compiled({"tel2": rule})
    assert field_map.columns == ("mobile", "country")
    rows = [("2025550123", "us"), (MOBILE, None), (MOBILE, "Colombia"), ("", "Colombia")]
    american, home, nowhere, empty = field_map.map_many(rows, 0)
    assert not isinstance(american, Rejection)
    assert american["tel2"] == "12025550123"
    assert not isinstance(home, Rejection)
    assert home["tel2"] == "573211234567"
    assert isinstance(nowhere, Rejection)
    assert 'column "country"' in nowhere.reason
    assert not isinstance(empty, Rejection)


def test_a_reason_names_field_and_column_and_not_the_number(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({"tel1": FieldRule(column="mobile", phone=CO)})
    rejection = field_map.map(("0000000000",), 0)
    assert isinstance(rejection, Rejection)
    assert (rejection.field, rejection.rule) == ("tel1", "phone")
    assert 'column "mobile"' in rejection.reason
    assert "000" not in rejection.reason


def test_the_cache_of_numbers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.fieldmap.phones._REMEMBERED", 3)
    dial = compile_phone(PhoneRule("CO", kind="fixed"))
    for last in range(10):
        assert dial(f"601234567{last}", "CO") == f"601234567{last}"
