"""Sabotages of routing: one sync, several campaigns; and of joined tables."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, bug

_BATCH = "syncd/batch.py"
_CAPTURES = "syncd/ledger/captures.py"
_JOINING = "syncd/crm/joining.py"
_SENDING = "syncd/delivery/sending.py"
_TESTS = "tests/delivery/test_routing.py::"

ROUTING: Final[tuple[Bug, ...]] = (
    bug(
        "route-not-asked-again",
        "A row that has changed since it was routed is sent to its old campaign.",
        _BATCH,
        "        elif campaign == lane.campaign.id:\n",
        "        elif lane.campaign.id:\n",
        f"{_TESTS}test_a_row_that_changes_unseen_right_before_the_call_goes_where_it_says_now",
    ),
    bug(
        "route-kept-after-a-change",
        "A lead stays in the queue of a parked campaign, though its row names another by now.",
        _CAPTURES,
        '("stays", {"rank": 0, "campaign_id": None})',
        '("stays", {"rank": 0})',
        f"{_TESTS}test_a_lead_whose_row_changes_is_routed_anew_and_leaves_a_parked_campaign",
    ),
    bug(
        "fingerprint-without-campaign",
        "A delivered lead that goes to another campaign by now counts as unchanged.",
        _BATCH,
        'hasher.record(record if self.route is None else record | {"campaign": self.campaign.id})',
        "hasher.record(record)",
        f"{_TESTS}test_a_lead_whose_campaign_changed_after_its_delivery_is_a_changed_one",
    ),
    bug(
        "old-routes-kept-at-a-start",
        "Leads that wait go by the rule of before the restart.",
        _SENDING,
        "                self._ledger.routing.forget(sync_id)\n",
        "",
        f"{_TESTS}test_a_new_rule_counts_for_leads_that_wait_already",
    ),
    bug(
        "a-lead-for-each-partner",
        "Where a join's key is not unique, a lead has now this partner and now that.",
        _JOINING,
        "min(other, row, key=repr)",
        "row",
        "tests/joins/test_joins.py::test_of_several_rows_of_one_key_the_same_one_is_taken_whatever_their_order",
    ),
)
