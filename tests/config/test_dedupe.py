"""Which fields `dedupe.by` names, of those that are mapped."""

from __future__ import annotations

import pytest

from syncd.config import Dedupe

MAPPED = ("customer_id", "tel1", "tel3", "tel_extra", "email")


@pytest.mark.parametrize(
    ("by", "fields"),
    [
        ("tel1", ("tel1",)),
        (["email", "tel1"], ("email", "tel1")),
        ("tel", ("tel1", "tel3")),
        (["tel", "tel1", "tel_extra"], ("tel1", "tel3", "tel_extra")),
    ],
)
def test_by_is_a_field_or_several_and_tel_is_every_telephone_that_is_dialled(
    by: str | list[str], fields: tuple[str, ...]
) -> None:
    dedupe = Dedupe.model_validate({"by": by, "within_hours": 24})
    assert dedupe.fault(MAPPED) is None
    assert dedupe.fields(MAPPED) == fields
    assert not dedupe.across


@pytest.mark.parametrize(
    ("by", "mapped", "words"),
    [
        (["email", "tel2"], MAPPED, 'dedupe.by = "tel2" is not among the mapped fields'),
        ("tel", ("customer_id", "tel_extra"), 'dedupe.by = "tel" needs one of tel1 to tel10 among the mapped fields'),
    ],
)
def test_what_is_not_mapped_tells_nobody_apart(by: str | list[str], mapped: tuple[str, ...], words: str) -> None:
    assert Dedupe.model_validate({"by": by, "within_hours": 24}).fault(mapped) == words
