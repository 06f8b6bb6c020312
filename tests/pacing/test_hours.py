"""Open hours, quota days and their ends, through weeks, holidays and daylight-saving changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.pacing import DAYS, HoursError, OpenHours, quota_day, quota_resets_at
from tests.support.effort import examples

BOGOTA = ZoneInfo("America/Bogota")
NEW_YORK = ZoneInfo("America/New_York")
ZONES = [
    ZoneInfo(name)
    for name in (
        "America/Bogota",
        "America/New_York",
        "America/Santiago",  # changes at midnight
        "America/Havana",  # midnight comes twice
        "Asia/Beirut",
        "Australia/Lord_Howe",  # by half an hour
        "Pacific/Apia",  # left out a whole day
        "Asia/Kathmandu",
        "UTC",
    )
]
INSTANTS = st.floats(datetime(2005, 1, 1).timestamp(), datetime(2036, 1, 1).timestamp())  # noqa: DTZ001  # any will do


def never(_day: date) -> bool:
    return False


def at(text: str, zone: ZoneInfo = BOGOTA, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def opens(hours: OpenHours, text: str, zone: ZoneInfo = BOGOTA, closed: Callable[[date], bool] = never) -> str | None:
    """When the hours are open next, in words; 2026-03-02 is a Monday."""
    found = hours.next_open(at(text, zone), zone, closed)
    return None if found is None else datetime.fromtimestamp(found, zone).isoformat()[:16]


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("", "must be written like"),
        ("Mon", "must be written like"),
        ("07:00", "must be written like"),
        ("Mon 7:00-9:00", "must be written like"),
        ("Mon 07:00 - 09:00", "must be written like"),
        ("Mon  07:00-09:00", "must be written like"),
        ("Mon 07:00-09:00 ", "must be written like"),
        ("Mon, Tue 07:00-09:00", "must be written like"),
        ("Mon 07:00-09:00\n", "must be written like"),
        ("Lun 07:00-09:00", '"Lun" is no day'),
        ("mon 07:00-09:00", '"mon" is no day'),
        ("Mon-Wed-Fri 07:00-09:00", '"Wed-Fri" is no day'),
        ("Mon- 07:00-09:00", '"" is no day'),
        (",Mon 07:00-09:00", '"" is no day'),
        ("Mon 07:60-09:00", "07:60 is no time of day"),
        ("Mon 07:00-24:01", "24:01 is no time of day"),
        ("Mon 25:00-26:00", "25:00 is no time of day"),
        ("Mon 09:00-07:00", "ends before it begins"),
        ("Mon 07:00-07:00", "ends before it begins"),
        ("Mon 22:00-06:00", "one up to 24:00"),
    ],
)
def test_an_entry_that_does_not_say_when_is_refused_by_name_and_rule(entry: str, rule: str) -> None:
    with pytest.raises(HoursError) as refused:
        OpenHours.parse(["Mon-Fri 07:00-19:00", entry])
    assert rule in str(refused.value)
    assert f'"{entry}"' in str(refused.value)


def test_no_entry_at_all_is_always_open() -> None:
    hours = OpenHours.parse([])
    assert opens(hours, "2026-03-01T03:00") == "2026-03-01T03:00"
    assert hours.open_secs(at("2026-03-01"), at("2026-03-02"), BOGOTA, never) == 86_400


@pytest.mark.parametrize(
    ("entry", "days"),
    [
        ("Mon-Fri 08:00-09:00", "Mon Tue Wed Thu Fri"),
        ("Sat 08:00-09:00", "Sat"),
        ("Sat,Sun 08:00-09:00", "Sat Sun"),
        ("Fri-Mon 08:00-09:00", "Mon Fri Sat Sun"),
        ("Mon,Wed-Fri 08:00-09:00", "Mon Wed Thu Fri"),
        ("Sun-Sat 08:00-09:00", "Mon Tue Wed Thu Fri Sat Sun"),
        ("08:00-09:00", "Mon Tue Wed Thu Fri Sat Sun"),
    ],
)
def test_days_are_names_lists_and_ranges_round_the_week(entry: str, days: str) -> None:
    windows = OpenHours.parse([entry]).windows
    assert windows is not None
    assert [name for name, day in zip(DAYS, windows, strict=True) if day] == days.split()


def test_the_first_minute_is_open_and_the_last_is_not() -> None:
    hours = OpenHours.parse(["Mon-Fri 07:00-19:00"])
    assert opens(hours, "2026-03-02T06:59:59") == "2026-03-02T07:00"
    assert opens(hours, "2026-03-02T07:00") == "2026-03-02T07:00"
    assert opens(hours, "2026-03-02T18:59:59") == "2026-03-02T18:59"
    assert opens(hours, "2026-03-02T19:00") == "2026-03-03T07:00"
    assert opens(hours, "2026-03-06T19:00") == "2026-03-09T07:00", "over the weekend"


def test_a_day_up_to_24_goes_on_into_the_next_without_a_gap() -> None:
    hours = OpenHours.parse(["Mon 20:00-24:00", "Tue 00:00-02:00"])
    assert hours.open_secs(at("2026-03-02"), at("2026-03-04"), BOGOTA, never) == 6 * 3600
    assert opens(hours, "2026-03-02T23:59:59") == "2026-03-02T23:59"
    assert opens(hours, "2026-03-03T00:00") == "2026-03-03T00:00"
    assert opens(hours, "2026-03-03T02:00") == "2026-03-09T20:00"


def test_overlapping_entries_count_once() -> None:
    hours = OpenHours.parse(["Mon 08:00-12:00", "Mon 10:00-14:00", "Mon-Tue 09:00-11:00", "Mon 08:00-08:30"])
    assert hours.open_secs(at("2026-03-02"), at("2026-03-03"), BOGOTA, never) == 6 * 3600
    assert hours.open_secs(at("2026-03-02T10:30"), at("2026-03-02T11:30"), BOGOTA, never) == 3600


def test_nothing_leaves_on_a_holiday() -> None:
    hours = OpenHours.parse(["Mon-Fri 07:00-19:00"])

    def holiday(day: date) -> bool:
        return day in (date(2026, 3, 2), date(2026, 3, 3))

    assert opens(hours, "2026-03-02T08:00", closed=holiday) == "2026-03-04T07:00"
    assert hours.open_secs(at("2026-03-02"), at("2026-03-05"), BOGOTA, holiday) == 12 * 3600


def test_holidays_alone_close_a_day_that_is_always_open() -> None:
    assert opens(OpenHours(None), "2026-03-02T08:00", closed=lambda day: day.day == 2) == "2026-03-03T00:00"


def test_hours_that_never_come_are_told() -> None:
    assert opens(OpenHours.parse(["Mon 07:00-08:00"]), "2026-03-02T08:00", closed=lambda _day: True) is None


def test_the_day_on_which_clocks_go_forward_is_an_hour_shorter() -> None:
    hours = OpenHours.parse(["01:00-04:00"])
    begin, end = at("2026-03-08", NEW_YORK), at("2026-03-09", NEW_YORK)
    assert hours.open_secs(begin, end, NEW_YORK, never) == 2 * 3600
    assert OpenHours(None).open_secs(begin, end, NEW_YORK, never) == 23 * 3600
    within = OpenHours.parse(["02:00-03:00"])  # an hour that the day has not
    assert within.open_secs(begin, end, NEW_YORK, never) == 0
    assert opens(within, "2026-03-08T00:00", NEW_YORK) == "2026-03-09T02:00"
    half = OpenHours.parse(["02:30-04:00"])
    assert half.open_secs(begin, end, NEW_YORK, never) <= 3600


def test_the_day_on_which_clocks_go_back_is_an_hour_longer() -> None:
    begin, end = at("2026-11-01", NEW_YORK), at("2026-11-02", NEW_YORK)
    assert OpenHours(None).open_secs(begin, end, NEW_YORK, never) == 25 * 3600
    assert OpenHours.parse(["01:00-02:00"]).open_secs(begin, end, NEW_YORK, never) == 2 * 3600
    second = at("2026-11-01T01:30", NEW_YORK, fold=1)
    assert OpenHours.parse(["01:00-02:00"]).next_open(second, NEW_YORK, never) == second


WINDOWS = st.tuples(
    st.sampled_from(["", "Mon ", "Tue-Thu ", "Sat,Sun ", "Fri-Mon "]),
    st.integers(0, 1439),
    st.integers(1, 1440),
).filter(lambda window: window[1] < window[2])


def _entry(window: tuple[str, int, int]) -> str:
    days, begin, end = window
    return f"{days}{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


@settings(max_examples=examples(150), deadline=None)
@given(now=INSTANTS, windows=st.lists(WINDOWS, max_size=4), zone=st.sampled_from(ZONES), holiday=st.integers(0, 9))
def test_the_next_opening_is_open_and_nothing_before_it_is(
    now: float, windows: list[tuple[str, int, int]], zone: ZoneInfo, holiday: int
) -> None:
    hours = OpenHours.parse([_entry(window) for window in windows])

    def closed(day: date) -> bool:
        return day.toordinal() % 10 == holiday

    found = hours.next_open(now, zone, closed)
    assert found is not None
    assert found >= now
    assert hours.next_open(found, zone, closed) == found, "what is said to be open is open"
    assert hours.open_secs(now, found, zone, closed) == 0, "nothing before it is"
    assert hours.open_secs(found, found + 3600, zone, closed) > 0
    assert not closed(datetime.fromtimestamp(found, zone).date())


@settings(max_examples=examples(150), deadline=None)
@given(
    begin=INSTANTS,
    lengths=st.lists(st.floats(0, 200_000), min_size=2, max_size=4),
    windows=st.lists(WINDOWS, max_size=4),
    zone=st.sampled_from(ZONES),
)
def test_open_seconds_add_up_and_never_exceed_the_time(
    begin: float, lengths: list[float], windows: list[tuple[str, int, int]], zone: ZoneInfo
) -> None:
    hours = OpenHours.parse([_entry(window) for window in windows])
    parts, reached = 0.0, begin
    for length in lengths:
        secs = hours.open_secs(reached, reached + length, zone, never)
        assert -1e-3 <= secs <= length + 1e-3
        parts, reached = parts + secs, reached + length
    assert hours.open_secs(begin, reached, zone, never) == pytest.approx(parts, abs=0.01)


# -- the quota day -------------------------------------------------------------------------------------------


def test_the_quota_day_begins_at_midnight_of_the_zone() -> None:
    assert quota_day(at("2026-03-02T23:59:59"), BOGOTA) == date(2026, 3, 2)
    assert quota_day(at("2026-03-03T00:00"), BOGOTA) == date(2026, 3, 3)
    assert quota_resets_at(at("2026-03-02T23:59:59"), BOGOTA) == at("2026-03-03T00:00")
    assert quota_resets_at(at("2026-03-03T00:00"), BOGOTA) == at("2026-03-04T00:00")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-07-01", 24)])
def test_a_quota_day_lasts_from_midnight_to_midnight_through_a_change_of_clocks(day: str, hours: int) -> None:
    begin = at(day, NEW_YORK)
    assert quota_resets_at(begin, NEW_YORK) - begin == hours * 3600
    assert quota_resets_at(begin + 5400, NEW_YORK) - begin == hours * 3600


def test_where_midnight_comes_twice_the_day_begins_once() -> None:
    havana = ZoneInfo("America/Havana")
    first, second = at("2025-11-02T00:00", havana), at("2025-11-02T00:00", havana, fold=1)
    assert second - first == 3600
    assert quota_resets_at(first - 1, havana) == first
    assert quota_day(first, havana) == quota_day(second, havana) == date(2025, 11, 2)
    assert quota_resets_at(first, havana) == quota_resets_at(second, havana) == at("2025-11-03", havana)


@settings(max_examples=examples(300), deadline=None)
@given(now=INSTANTS, zone=st.sampled_from(ZONES))
def test_a_quota_day_ends_when_the_next_begins(now: float, zone: ZoneInfo) -> None:
    day, resets = quota_day(now, zone), quota_resets_at(now, zone)
    assert 0 < resets - now <= 26 * 3600 or zone.key == "Pacific/Apia"
    assert quota_day(resets, zone) > day
    assert quota_day(resets - 1, zone) == day
    assert quota_day(resets, zone) - day <= timedelta(days=2)
