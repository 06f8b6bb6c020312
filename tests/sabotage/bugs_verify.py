"""Sabotages of verification: what would call somebody twice, or never, on wolkvox's word."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, bug

_VERIFY = "syncd/verify.py"
_HOLDINGS = "syncd/holdings.py"
_RESOLVING = "syncd/ledger/resolving.py"
_T = "tests/verify/test_sabotaged.py::"

VERIFY: Final[tuple[Bug, ...]] = (
    bug(
        "released-after-one-absence",
        "wolkvox shows late what it took: everybody is called twice.",
        _RESOLVING,
        "if _is_long(still[lead_id].absent_at, now, again_secs)]",
        "if lead_id in still]",
        f"{_T}test_one_absence_releases_nobody",
    ),
    bug(
        "second-absence-at-once",
        "Two looks within a second are one look.",
        _RESOLVING,
        "return since is not None and now - since >= secs",
        "return since is not None",
        f"{_T}test_two_absences_too_close_to_each_other_release_nobody",
    ),
    bug(
        "absences-with-a-doubt-between",
        "An absence before a doubt and one after it count as seen twice in a row.",
        _RESOLVING,
        "for ids, since in ((first, now), (unsure, None)):",
        "for ids, since in ((first, now),):",
        f"{_T}test_a_doubt_between_two_absences_begins_the_count_anew",
    ),
    bug(
        "verified-change-forgotten",
        "A row corrected while its outcome was unknown stays as it was sent.",
        _RESOLVING,
        "select(lead.c.id).where(among, lead.c.changed == 1)",
        "select(lead.c.id).where(among, lead.c.changed == 2)",
        f"{_T}test_a_change_while_held_is_considered_once_it_is_found",
    ),
    bug(
        "twins-not-freed",
        "Who was left out for a twin that was never called is never called either.",
        "syncd/ledger/people.py",
        "(lead.c.state == LeadState.DUPLICATE.value)",
        "(lead.c.state == LeadState.EXPIRED.value)",
        f"{_T}test_a_duplicate_of_an_absent_lead_is_pending_again",
    ),
    bug(
        "no-settle-time",
        "wolkvox is still at work on the call while it is asked, and says that it has nothing.",
        _VERIFY,
        "+ self._rules.verify_after_secs",
        "- SERVER_SECS",
        f"{_T}test_nothing_is_asked_before_the_settle_time_is_over",
    ),
    bug(
        "questions-cost-nothing",
        "Questions are not counted, and wolkvox refuses the last calls of the day.",
        "syncd/questions.py",
        "quota_day=quota_day(now, zone).isoformat(),",
        'quota_day="never",',
        f"{_T}test_every_question_is_counted",
    ),
    bug(
        "changed-row-taken-for-what-was-sent",
        "A row that changed since is looked for as it is now, not found, and called twice.",
        _VERIFY,
        "lead.print == self._ledger.hasher.record(mapped)[:8]",
        "lead.print is not None",
        f"{_T}test_a_row_that_changed_since_is_not_looked_for_as_it_is_now",
    ),
    bug(
        "any-404-is-empty",
        "A campaign that is gone, or full, counts as empty: everybody is called twice.",
        "syncd/questions.py",
        "empty = exchange.status == 200 and says_empty(exchange.body, campaign_id)",
        "empty = exchange is not None",
        f"{_T}test_a_404_alone_does_not_prove_that_there_is_nothing",
    ),
    bug(
        "hold-resends",
        "Who has asked to hold what is unknown finds it sent again.",
        _VERIFY,
        ' and self._rules.on_unresolved != "hold":',
        ":",
        f"{_T}test_what_stays_unsure_stays_held",
    ),
    bug(
        "truncated-export-proves-absence",
        "Whoever is behind the 60,000th record counts as absent, and is called twice.",
        _HOLDINGS,
        "campaign_id is not None and counted and rows < EXPORT_ROWS)",
        "campaign_id is not None and counted)",
        f"{_T}test_an_export_that_may_be_cut_proves_no_absence",
    ),
    bug(
        "total-of-an-export-ignored",
        "An export that lacks half of its rows proves that they are not there.",
        _HOLDINGS,
        "campaign_id is not None and counted and rows < EXPORT_ROWS)",
        "campaign_id is not None and rows < EXPORT_ROWS)",
        f"{_T}test_an_export_that_may_be_cut_proves_no_absence",
    ),
    bug(
        "marker-ignored",
        "A record of yesterday's call passes for today's: the person is never called.",
        _HOLDINGS,
        "    if tuple(sent.values()) in rows or (",
        "    if any(row[0] == sent['tel1'] for row in rows) or (",
        f"{_T}test_with_a_marker_only_the_calls_own_records_count",
    ),
    bug(
        "other-values-taken-for-absent",
        "A customer whom wolkvox shows with other values is called twice.",
        _HOLDINGS,
        "if holdings.whole and not rows else",
        "if holdings.whole else",
        f"{_T}test_a_customer_with_other_values_is_neither_there_nor_absent",
        f"{_T}test_a_customer_in_another_form_is_not_absent",
    ),
    bug(
        "other-values-taken-for-there",
        "A customer of an earlier call passes for this one's: never called.",
        _HOLDINGS,
        "    if tuple(sent.values()) in rows or (",
        "    if rows or (",
        f"{_T}test_a_customer_with_other_values_is_neither_there_nor_absent",
    ),
    bug(
        "some-marked-taken-for-all",
        "One record of a call proves all of it: the others are never called.",
        _HOLDINGS,
        "return Finding.THERE if holdings.marked >= carried else",
        "return Finding.THERE if holdings.marked > 0 else",
        f"{_T}test_some_records_of_a_call_prove_nothing_of_the_others",
    ),
    bug(
        "error-envelope-believed",
        "An error that came with status 200 counts as an empty export: everybody is called twice.",
        _HOLDINGS,
        'if text.peek() or not seen or str(members.get("code")) != "200":',
        "if text.peek() or not seen:",
        f"{_T}test_an_envelope_that_is_no_export_of_this_campaign_proves_nothing",
    ),
    bug(
        "export-without-rows-believed",
        "An export without its list counts as empty: everybody is called twice.",
        _HOLDINGS,
        'if text.peek() or not seen or str(members.get("code")) != "200":',
        'if text.peek() or str(members.get("code")) != "200":',
        f"{_T}test_an_envelope_that_is_no_export_of_this_campaign_proves_nothing",
    ),
    bug(
        "export-of-another-campaign",
        "A reply to another call proves that everybody is absent from this one.",
        _HOLDINGS,
        'not in ("", campaign_id):\n        return None',
        'not in ("", campaign_id):\n        rows += 0',
        f"{_T}test_an_envelope_that_is_no_export_of_this_campaign_proves_nothing",
    ),
    bug(
        "customer-compared-to-the-letter",
        "wolkvox keeps an id without its leading zeros: absent, released, called twice.",
        _HOLDINGS,
        'return "".join(filter(str.isalnum, customer)).casefold().lstrip("0") or customer.strip()',
        "return customer.strip()",
        f"{_T}test_a_customer_in_another_form_is_not_absent",
    ),
)
