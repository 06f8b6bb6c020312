"""Every fault of a map is found before any row is read, all at once, and names field, key, value and rule."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from syncd.errors import EXIT_CONFIG
from syncd.fieldmap import (
    BoolRule,
    DatetimeRule,
    FieldMapError,
    FieldRule,
    NumberRule,
    PhoneRule,
    Problem,
    ReplaceRule,
    compile_map,
)

BOGOTA = ZoneInfo("America/Bogota")
GOOD = {"customer_id": FieldRule(column="id"), "tel1": FieldRule(column="phone")}


def problems(
    rules: dict[str, FieldRule], campaign_type: str = "predictive", require: tuple[str, ...] = ()
) -> list[Problem]:
    with pytest.raises(FieldMapError) as caught:
        compile_map(rules, campaign_type=campaign_type, require=require, zone=BOGOTA)
    assert caught.value.exit_status == EXIT_CONFIG
    return caught.value.problems


CO = PhoneRule("CO")
SPREAD = PhoneRule("CO", spread=True)
YES = BoolRule("Sí", "No")


@pytest.mark.parametrize(
    ("field", "rule", "key", "value", "words"),
    [
        ("tel11", FieldRule(column="x"), "", "", "must be a field of a predictive campaign"),
        ("agent_id", FieldRule(column="x"), "", "", "it is one of a preview campaign"),
        ("city", FieldRule(), "", "", "exactly one source"),
        ("city", FieldRule(column="x", value="y"), "", "column and value", "exactly one source"),
        ("city", FieldRule(column="x", template="{y}"), "", "column and template", "exactly one source"),
        ("city", FieldRule(column=" "), "column", " ", "must name a column"),
        ("city", FieldRule(template="{a[0]}"), "template", "{a[0]}", "without"),
        ("city", FieldRule(template="{a:>9}"), "template", "{a:>9}", "formats"),
        ("city", FieldRule(template="{a!r}"), "template", "{a!r}", "formats"),
        ("city", FieldRule(template="{}"), "template", "{}", "columns alone"),
        ("city", FieldRule(template="{a"), "template", "{a", "closing brace"),
        ("city", FieldRule(template="a}"), "template", "a}", "closing brace"),
        ("city", FieldRule(template="plain"), "template", "plain", "must name a column in braces"),
        ("city", FieldRule(template="{a}", path="$.b"), "path", "$.b", "must go with column"),
        ("city", FieldRule(column="x", path="budget"), "path", "budget", "must be a path"),
        ("city", FieldRule(column="x", path="$"), "path", "$", "must be a path"),
        ("city", FieldRule(column="x", path="$.a..b"), "path", "$.a..b", "must be a path"),
        ("city", FieldRule(column="x", path="$.a[*]"), "path", "$.a[*]", "must be a path"),
        ("city", FieldRule(value="x", split="first"), "split", "first", "must not go with value"),
        ("city", FieldRule(value="x", default=""), "default", "", "must not go with value"),
        ("city", FieldRule(value="x", datetime=True), "datetime", "True", "must not go with value"),
        ("recall_date", FieldRule(value="20400101000000"), "value", "20400101000000", "not be a constant"),
        ("opt1", FieldRule(value="x" * 101), "value", "x" * 101, "longer than 100"),
        ("tel2", FieldRule(value="+57321"), "value", "+57321", "other characters than digits"),
        ("customer_id", FieldRule(value=""), "value", "", "customer_id is empty"),
        ("customer_id", FieldRule(value="1,2"), "value", "1,2", "comma"),
        ("city", FieldRule(column="x", split="second"), "split", "second", "must be first or rest"),
        ("city", FieldRule(column="x", case="camel"), "case", "camel", "must be lower or upper or title"),
        ("city", FieldRule(column="x", lookup={}), "lookup", "", "at least one"),
        ("city", FieldRule(column="x", lookup={" ": "a"}), "lookup", "", "empty text"),
        ("city", FieldRule(column="x", datetime=True, split="first"), "split", "", "not go with datetime"),
        ("city", FieldRule(column="x", datetime=True, lookup={"a": "b"}), "lookup", "", "not go with datetime"),
        ("city", FieldRule(column="x", datetime=True, case="lower"), "case", "", "not go with datetime"),
        ("city", FieldRule(column="x", datetime=True, phone=CO), "phone", "", "not go with datetime"),
        ("city", FieldRule(column="x", datetime="%Q"), "datetime", "%Q", "must be true, or the format"),
        ("city", FieldRule(column="x", datetime="dd/mm"), "datetime", "dd/mm", "must be true, or the format"),
        ("city", FieldRule(column="x", datetime=""), "datetime", "", "must be true, or the format"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("XX")), "phone.region", "XX", "ISO 3166"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("co")), "phone.region", "co", "ISO 3166"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", "rfc")), "phone.format", "rfc", "national or e164"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", prefix="+")), "phone.prefix", "+", "digits"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", kind="fax")), "phone.kind", "fax", "any or mobile"),
        (
            "tel2",
            FieldRule(column="x", phone=PhoneRule("CO", region_column="")),
            "phone.region_column",
            "",
            "must name a column",
        ),
        ("city", FieldRule(first=[]), "first", "", "at least one column"),
        ("city", FieldRule(join=["a", " "]), "join", "", "at least one column"),
        ("city", FieldRule(join=["a", "a"]), "join", "a, a", "each column once"),
        ("city", FieldRule(column="x", first=["y"]), "", "column and first", "exactly one source"),
        ("city", FieldRule(first=["a"], path="$.b"), "path", "$.b", "must go with column"),
        ("city", FieldRule(first=["a"], separator="-"), "separator", "-", "must go with join"),
        ("city", FieldRule(value="x", required=True), "required", "True", "must not go with value"),
        ("city", FieldRule(value="x", strip="-"), "strip", "-", "must not go with value"),
        ("city", FieldRule(column="x", default="y", required=True), "required", "", "never be asked"),
        ("city", FieldRule(column="x", strip=" "), "strip", " ", "at least one character"),
        ("city", FieldRule(column="x", replace=[]), "replace", "", "at least one pattern"),
        ("city", FieldRule(column="x", replace=[ReplaceRule("(")]), "replace", "(", "RE2"),
        ("city", FieldRule(column="x", replace=[ReplaceRule(".*")]), "replace", ".*", "takes every text away"),
        ("city", FieldRule(column="x", digits=True, split="rest"), "split", "rest", "one word"),
        ("city", FieldRule(column="x", digits=True, case="lower"), "case", "lower", "no letter"),
        ("city", FieldRule(column="x", fold=True), "fold", "", "must go with lookup"),
        ("city", FieldRule(column="x", lookup={"a": " "}), "lookup", "", "it gives nothing"),
        ("city", FieldRule(column="x", lookup={"a": "b", "a ": "c"}), "lookup", "a ", "there once"),
        ("city", FieldRule(column="x", lookup={"a": "b", "Á": "c"}, fold=True), "lookup", "Á", "there once"),
        ("city", FieldRule(column="x", bool=BoolRule("", " ")), "bool", "", "it gives nothing"),
        ("city", FieldRule(column="x", bool=YES, lookup={"a": "b"}), "lookup", "", "not go with bool"),
        ("city", FieldRule(column="x", bool=YES, digits=True), "digits", "", "not go with bool"),
        ("city", FieldRule(column="x", number=NumberRule(), digits=True), "digits", "", "not go with number"),
        ("tel2", FieldRule(column="x", number=NumberRule()), "number", "", "no amount"),
        ("city", FieldRule(column="x", number=NumberRule(-1)), "number.decimals", "-1", "0 to 15"),
        ("city", FieldRule(column="x", number=NumberRule(16)), "number.decimals", "16", "0 to 15"),
        ("city", FieldRule(column="x", number=NumberRule(decimal=";")), "number.decimal", ";", "must be . or ,"),
        ("city", FieldRule(column="x", number=NumberRule(read=";")), "number.read", ";", "must be . or ,"),
        ("city", FieldRule(column="x", number=NumberRule(thousands="-")), "number.thousands", "-", "or nothing"),
        ("city", FieldRule(column="x", number=NumberRule(thousands=".")), "number.thousands", ".", "decimal mark"),
        ("city", FieldRule(column="x", datetime=True, ascii=True), "ascii", "", "not go with datetime"),
        ("city", FieldRule(column="x", datetime=DatetimeRule(read="x")), "datetime.read", "x", "the format"),
        ("city", FieldRule(column="x", datetime=DatetimeRule(write="x")), "datetime.write", "x", "such as"),
        ("city", FieldRule(column="x", datetime=DatetimeRule(write="%A")), "datetime.write", "%A", "such as"),
        ("city", FieldRule(column="x", datetime=DatetimeRule(write="%%")), "datetime.write", "%%", "such as"),
        ("city", FieldRule(column="x", datetime=DatetimeRule(zone="X/Y")), "datetime.zone", "X/Y", "UTC"),
        ("city", FieldRule(column="x", datetime=DatetimeRule(zone="../x")), "datetime.zone", "../x", "UTC"),
        ("recall_date", FieldRule(column="x", datetime=DatetimeRule(write="%Y")), "datetime.write", "%Y", "one form"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", area="")), "phone.area", "", "digits"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", area="a")), "phone.area", "a", "digits"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", area="1", kind="mobile")), "phone.area", "1", "no area"),
        ("tel2", FieldRule(column="x", phone=PhoneRule("CO", extension="x")), "phone.extension", "x", "drop or reject"),
        ("tel2", FieldRule(column="x", phone=SPREAD, max=9, over="reject"), "max", "9", "phone.spread"),
        ("tel_extra", FieldRule(column="x", phone=SPREAD), "phone.spread", "", "tel1 to tel10"),
        ("city", FieldRule(column="x", phone=SPREAD), "phone.spread", "", "tel1 to tel10"),
        ("city", FieldRule(column="x", max=0), "max", "0", "at least 1"),
        ("opt6", FieldRule(column="x", max=101), "max", "101", "at most 100"),
        ("opt7", FieldRule(column="x", max=201), "max", "201", "at most 200"),
        ("city", FieldRule(column="x", over="cut"), "over", "cut", "must go with max"),
        ("opt1", FieldRule(column="x", over="fold"), "over", "fold", "must be cut or reject"),
        ("tel2", FieldRule(column="x", max=10), "over", "cut", 'must be "reject"'),
        ("customer_id", FieldRule(column="x", max=10, over="cut"), "over", "cut", 'must be "reject"'),
        ("recall_date", FieldRule(column="x", default="20400101000000"), "default", "20400101000000", "empty"),
        ("tel2", FieldRule(column="x", default="none"), "default", "none", "other characters than digits"),
        ("opt2", FieldRule(column="x", default="y" * 101), "default", "y" * 101, "longer than 100"),
    ],
)
def test_a_fault_of_a_rule_is_named(field: str, rule: FieldRule, key: str, value: str, words: str) -> None:
    (problem,) = problems(GOOD | {field: rule})
    assert (problem.field, problem.key, problem.value) == (field, key, value)
    assert words in problem.rule
    assert problem.rule.startswith("must ")


def test_an_id_and_a_telephone_must_be_mapped() -> None:
    found = problems({"city": FieldRule(column="x"), "recall_telephone": FieldRule(column="y")})
    assert [problem.field for problem in found] == ["customer_id", "tel1"]


def test_a_required_field_must_be_mapped() -> None:
    (problem,) = problems(GOOD, require=("tel1", "email", "email"))
    assert (problem.field, problem.rule) == ("email", "must be mapped: the sync's require names it")


def test_a_campaign_type_must_be_known() -> None:
    (problem,) = problems(GOOD, "progressive")
    assert problem.value == "progressive"


def test_the_fields_of_a_preview_campaign_are_its_own() -> None:
    (problem,) = problems(GOOD | {"email": FieldRule(column="x")}, "preview")
    assert "it is one of a predictive campaign" in problem.rule


def test_all_faults_are_told_at_once_and_as_sentences() -> None:
    rules = {
        "tel1": FieldRule(column="x", phone=PhoneRule("XX", prefix="+"), case="camel"),
        "town": FieldRule(),
    }
    found = problems(rules, require=("email",))
    assert len(found) == 7
    assert str(found[0]) == "tel1.case = 'camel': must be lower or upper or title"
    assert str(FieldMapError(found)).count("\n") == 6
