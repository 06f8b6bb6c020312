"""Sabotages of delivery: the call's life, parks, gates, and what is in a batch."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, Edit, bug

_SENDING = "syncd/delivery/sending.py"
_GATES = "syncd/delivery/gates.py"
_BATCH = "syncd/batch.py"
_T_SENDING = "tests/delivery/test_sending.py::"
_T_REFUSALS = "tests/delivery/test_refusals.py::"
_T_INTERRUPTED = "tests/delivery/test_interrupted.py::"
_T_GATES = "tests/delivery/test_gates.py::"
_T_BISECTION = "tests/delivery/test_bisection.py::"
_T_OWN = "tests/delivery/test_sabotaged.py::"

SENDING: Final[tuple[Bug, ...]] = (
    Bug(
        "intent-after-post",
        "A crash between the two forgets a call that was made: its leads are sent again.",
        (
            Edit(
                _SENDING,
                "number, started, settled = self._commit_intent(",
                "exchange = self._client.add_record(lane.campaign, batch.body)\n"
                "            verdict = judge(exchange, len(batch.lead_ids))\n"
                "            number, started, settled = self._commit_intent(",
            ),
            Edit(_SENDING, "exchange, verdict = self._post(", "_ = ("),
        ),
        (f"{_T_SENDING}test_the_intent_is_committed_before_the_first_byte_leaves",),
    ),
    bug(
        "post-again-without-reply",
        "A call whose reply was lost may have been accepted: a second one calls everybody twice.",
        _SENDING,
        "        exchange = self._client.add_record(lane.campaign, batch.body)\n",
        "        exchange = self._client.add_record(lane.campaign, batch.body)\n"
        "        if exchange.status is None:\n"
        "            exchange = self._client.add_record(lane.campaign, batch.body)\n",
        f"{_T_REFUSALS}test_an_unknown_outcome_is_held_and_never_posted_again",
    ),
    bug(
        "unknown-back-to-pending",
        "What may have been accepted is sent again.",
        _SENDING,
        "Outcome.UNKNOWN: (CallState.UNKNOWN, LeadState.HELD)",
        "Outcome.UNKNOWN: (CallState.REFUSED, LeadState.PENDING)",
        f"{_T_REFUSALS}test_an_unknown_outcome_is_held_and_never_posted_again",
    ),
    bug(
        "unknown-taken-for-accepted",
        "Leads that wolkvox never got are never called.",
        _SENDING,
        "Outcome.UNKNOWN: (CallState.UNKNOWN, LeadState.HELD)",
        "Outcome.UNKNOWN: (CallState.ACCEPTED, LeadState.DELIVERED)",
        f"{_T_REFUSALS}test_an_unknown_outcome_is_held_and_never_posted_again",
    ),
    bug(
        "refused-taken-for-accepted",
        "Leads that wolkvox turned away are never called.",
        _SENDING,
        "Outcome.REFUSED: (CallState.REFUSED, LeadState.PENDING)",
        "Outcome.REFUSED: (CallState.ACCEPTED, LeadState.DELIVERED)",
        f"{_T_REFUSALS}test_a_refusal_that_is_not_the_leads_parks_and_comes_back_by_itself",
    ),
    bug(
        "refused-position-off-by-one",
        "The wrong lead is rejected, and the refused one counts as called.",
        _SENDING,
        "batch.lead_ids[error.position]",
        "batch.lead_ids[error.position - 1]",
        f"{_T_REFUSALS}test_a_batch_of_which_some_were_refused_is_delivered_in_part",
    ),
    bug(
        "frozen-sender-posts",
        "A sender thawed after its call was given up for lost posts what a second sender has sent meanwhile.",
        _SENDING,
        "> FROZEN_SECS:",
        "> float('inf'):",
        f"{_T_GATES}test_a_call_whose_sender_stood_still_is_not_made_and_its_leads_are_pending",
    ),
    bug(
        "outcome-forgotten",
        "Where the ledger was away for a moment, an accepted call stays open for ever.",
        _SENDING,
        "self._turn(self._clock()) if self._made is None else self._settle(self._made)",
        "self._turn(self._clock())",
        f"{_T_INTERRUPTED}test_an_outcome_that_the_ledger_cannot_take_is_written_on_a_later_turn",
    ),
    bug(
        "refusals-park-nothing",
        "A bad token eats the day's calls within minutes.",
        _SENDING,
        "if verdict.parks is not Scope.NOTHING:",
        "if verdict.parks is None:",
        f"{_T_REFUSALS}test_a_refusal_that_is_not_the_leads_parks_and_comes_back_by_itself",
    ),
    bug(
        "refusals-park-the-sender",
        "One campaign that was deleted stops all others.",
        _SENDING,
        "SENDER if verdict.parks is Scope.SENDER else key",
        "SENDER",
        f"{_T_REFUSALS}test_a_campaign_that_is_not_there_stops_no_other",
    ),
    bug(
        "calls-overlap",
        "More calls in flight than the token allows: wolkvox refuses, or loses one.",
        _SENDING,
        "if busy is not None:",
        "if busy is None and loads is None:",
        f"{_T_REFUSALS}test_after_an_unknown_outcome_the_next_call_waits_for_wolkvoxs_own_limit",
    ),
    bug(
        "pause-ignored",
        "An operator who has stopped a campaign watches it dial on.",
        _GATES,
        "reason, is_new = ledger.doubts.paused(sync_id), False",
        "reason, is_new = None, False",
        f"{_T_GATES}test_a_paused_sync_is_not_sent_and_goes_on_soon_after_it_is_resumed",
    ),
    bug(
        "surge-ignored",
        "A bulk UPDATE in the CRM dials a million people.",
        _GATES,
        "if lately > lane.max_per_hour:",
        "if lately < 0:",
        f"{_T_GATES}test_a_surge_pauses_its_sync_alone_is_said_once_and_resume_sends_it",
    ),
    bug(
        "clock-jump-believed",
        "A clock set a day ahead opens the hours at night and a fresh quota with them.",
        _GATES,
        "not _is_nearer(offset, self._believed)",
        "offset is None",
        f"{_T_GATES}test_a_clock_that_jumps_stops_delivery_until_it_is_back",
    ),
    bug(
        "expiry-ignored",
        "A lead of last month is called as if it were fresh.",
        _BATCH,
        "if lead.captured_at < oldest]",
        "if lead.captured_at < 0]",
        f"{_T_GATES}test_a_lead_that_has_waited_too_long_expires_and_a_change_brings_it_back",
    ),
    Bug(
        "verification-has-no-share",
        "Sending eats the calls that would tell what became of the lost ones.",
        (
            Edit(
                "syncd/delivery/results.py",
                "return self.daily_limit - self.reserve_calls - self.verify_calls",
                "return self.daily_limit - self.reserve_calls",
            ),
            Edit(_SENDING, "quota.remaining - rules.verify_calls", "quota.remaining"),
        ),
        (f"{_T_GATES}test_leads_leave_a_share_of_the_day_to_verification_and_the_quota_says_what_is_left",),
    ),
    bug(
        "condemned-without-a-witness",
        "A campaign at fault has every lead rejected, one by one.",
        "syncd/bisection.py",
        "return self._singled_out if self._some_accepted else {}",
        "return self._singled_out",
        f"{_T_BISECTION}test_where_all_are_refused_it_ends_in_vain_after_few_calls",
    ),
    bug(
        "bisection-without-a-budget",
        "One poisoned batch eats the day's calls.",
        "syncd/bisection.py",
        "if self._calls_left <= 0:",
        "if self._calls_left is None:",
        f"{_T_BISECTION}test_where_many_are_refused_it_stops_within_its_calls",
    ),
    bug(
        "twice-in-a-batch",
        "A person with two rows is called twice by one call.",
        _BATCH,
        "elif self._aboard.isdisjoint(its):",
        "elif its is not None:",
        f"{_T_SENDING}test_nobody_is_twice_in_a_batch",
    ),
    bug(
        "dedupe-forgets",
        "A person who was called an hour ago is called again by another row.",
        _BATCH,
        "            if twin is not None:",
        "            if twin is None and its is None:",
        f"{_T_SENDING}test_nobody_is_called_again_within_the_hours_of_dedupe",
    ),
    bug(
        "its-own-twin",
        "A lead whose record has changed is a duplicate of itself, and never sent again.",
        _BATCH,
        "if twin.lead_id != lead_id:",
        "if twin.lead_id:",
        f"{_T_SENDING}test_a_lead_is_not_its_own_duplicate",
    ),
    Bug(
        "marker-before-hash",
        "Verification never recognises what was sent: absent, released, called twice.",
        (
            Edit(_BATCH, "        prints |= {lead.id: ledger.hasher.record(record) for lead, record in kept}\n", ""),
            Edit(
                _BATCH,
                "        sent += [lead for lead, _ in kept]\n",
                "        prints |= {lead.id: ledger.hasher.record(record) for lead, record in kept}\n"
                "        sent += [lead for lead, _ in kept]\n",
            ),
        ),
        (f"{_T_OWN}test_what_is_kept_of_a_record_is_without_the_marker",),
    ),
    bug(
        "unchanged-sent-again",
        "A row that was touched without a change calls its person again.",
        _BATCH,
        "if fingerprint == lead.fingerprint:",
        "if fingerprint is None:",
        f"{_T_SENDING}test_when_changed_sends_again_only_what_differs",
    ),
    bug(
        "consent-not-checked-again",
        "Who has withdrawn their consent is called all the same.",
        "syncd/crm/reading.py",
        "        condition(where, with_parameters=with_parameters),",
        '        sql.SQL("true"),',
        f"{_T_SENDING}test_a_consent_withdrawn_meanwhile_is_heeded",
    ),
    bug(
        "quota-day-of-greenwich",
        "The quota begins anew in the evening: by midnight twice the day's calls are spent.",
        "syncd/pacing.py",
        "return datetime.fromtimestamp(now, zone).date()",
        'return datetime.fromtimestamp(now, ZoneInfo("UTC")).date()',
        f"{_T_OWN}test_the_quota_day_ends_at_midnight_of_its_zone",
    ),
    bug(
        "witness-not-asked",
        "A ledger restored from yesterday sends again all that was sent since.",
        _SENDING,
        "self._guard.objection() if self._guard is not None else None",
        "None",
        "tests/recovery/test_witness.py::test_a_tail_that_is_lost_while_it_runs_is_noticed_at_the_next_turn",
    ),
    bug(
        "witness-not-told",
        "The witness knows nothing of the last calls, and vouches for a ledger that has lost them.",
        _SENDING,
        "(unwritten := self._guard.note(number, call_id, day)) is not None",
        "(unwritten := None) is not None",
        "tests/recovery/test_witness.py::test_it_names_the_call_before_the_first_byte_leaves_and_after_the_intent",
    ),
    bug(
        "lost-tail-not-noticed",
        "A failover that lost the last minute sends that minute again.",
        "syncd/witness.py",
        "elif found.uid != said.uid or (said.number and not found.has_call):",
        "elif found.uid != said.uid:",
        "tests/recovery/test_witness.py::test_a_tail_that_is_lost_while_it_runs_is_noticed_at_the_next_turn",
    ),
    bug(
        "spoilt-witness-believed",
        "Nobody knows whether the ledger is whole, and it sends all the same.",
        "syncd/witness.py",
        "return found.restored or self._spoilt",
        "return found.restored",
        "tests/recovery/test_witness.py::test_a_spoilt_witness_holds_everything",
    ),
)
