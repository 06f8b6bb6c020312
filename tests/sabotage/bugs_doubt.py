"""Sabotages of what is done in doubt: leads that nobody names, intents and calls without an answer, somebody's word."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, bug

_ISOLATING = "syncd/delivery/isolating.py"
_BISECTION = "syncd/bisection.py"
_SENDING = "syncd/delivery/sending.py"
_CALLS = "syncd/ledger/calls.py"
_OUTCOMES = "syncd/ledger/outcomes.py"
_RESOLVING = "syncd/ledger/resolving.py"
_VERIFY = "syncd/verify.py"
_QUESTIONS = "syncd/questions.py"
_T_REFUSALS = "tests/delivery/test_refusals.py::"
_T_BISECTION = "tests/delivery/test_bisection.py::"
_T_INTERRUPTED = "tests/delivery/test_interrupted.py::"
_T_DELIVERY = "tests/delivery/test_sabotaged.py::"
_T_CALLS = "tests/ledger/test_calls.py::"
_T_LEDGER = "tests/ledger/test_sabotaged.py::"
_T_QUESTIONS = "tests/verify/test_questions.py::"
_T_SETTLING = "tests/verify/test_settling.py::"
_T_VERIFY = "tests/verify/test_sabotaged.py::"

_HASHES_LOST: Final = '{"fingerprint": null(), "person": null()}'
_CHANGE_NOT_TAKEN: Final = f"{_T_CALLS}test_a_lead_whose_change_was_not_taken_still_knows_what_was_delivered"

DOUBT: Final[tuple[Bug, ...]] = (
    # -- leads that wolkvox refuses without naming them
    bug(
        "leads-behind-not-asked",
        "Poisoned leads at the head of the queue are refused again and again, and nobody behind them is called.",
        _ISOLATING,
        "others = self._others(lane, sync_id)",
        "others: list[int] = []",
        f"{_T_REFUSALS}test_poisoned_leads_at_the_head_keep_nobody_else_from_leaving",
    ),
    bug(
        "same-leads-behind-each-round",
        "Where those few are poisoned, too, no good lead is ever come upon.",
        _ISOLATING,
        "self._rounds += 1",
        "self._rounds += 0",
        f"{_T_REFUSALS}test_good_leads_far_behind_poisoned_ones_are_come_upon",
    ),
    bug(
        "refused-batch-taken-for-one-lead",
        "One poisoned lead among those that wait parks the campaign, and is never looked for.",
        _ISOLATING,
        "if len(sent) == 1 and not others and not others_taken:",
        "if not others:",
        f"{_T_REFUSALS}test_one_poisoned_lead_of_many_is_found_and_the_others_are_delivered",
    ),
    bug(
        "lone-lead-again-and-again",
        "One poisoned lead that waits alone eats a call with every look.",
        _ISOLATING,
        "pending > self._lone.get(sync, pending)",
        "pending >= self._lone.get(sync, pending)",
        f"{_T_DELIVERY}test_a_poisoned_lead_that_waits_alone_is_not_sent_at_each_look",
    ),
    bug(
        "lone-lead-told-nothing-of",
        "The first refusal of a lead by itself is forgotten: it is sent once more before its neighbours are tried.",
        _ISOLATING,
        "            bisection.refused(sent, seq)\n        return True",
        "            pass\n        return True",
        f"{_T_DELIVERY}test_a_lead_that_was_refused_by_itself_is_not_asked_about_again",
    ),
    bug(
        "condemned-though-corrected",
        "A lead that was corrected while its old row was looked into is rejected for what it was.",
        _ISOLATING,
        "self._ledger.settle_unsent(sync_id, seq, [",
        "self._ledger.settle_unsent(sync_id, seq + 1000, [",
        f"{_T_REFUSALS}test_a_poisoned_lead_that_is_corrected_meanwhile_is_not_rejected",
    ),
    bug(
        "unanswered-part-taken-for-accepted",
        "A campaign at fault, and one call without an answer: every lead that was sent alone is rejected.",
        _ISOLATING,
        "case Outcome.UNKNOWN:\n                bisection.gone(called=True)",
        "case Outcome.UNKNOWN:\n                bisection.accepted()",
        f"{_T_DELIVERY}test_a_call_without_an_answer_is_no_acceptance_by_which_others_are_rejected",
    ),
    bug(
        "another-refusal-taken-for-poison",
        "wolkvox is in maintenance for a moment: the lead that was sent alone just then is rejected.",
        _ISOLATING,
        "case Outcome.REFUSED if unnamed:",
        "case Outcome.REFUSED:",
        f"{_T_DELIVERY}test_a_lead_that_is_sent_alone_into_a_maintenance_is_not_rejected_for_that",
    ),
    bug(
        "in-vain-and-no-park",
        "A campaign that refuses everybody eats the day's calls.",
        _ISOLATING,
        "if bisection.in_vain:",
        "if bisection is None:",
        f"{_T_REFUSALS}test_a_campaign_that_refuses_all_is_parked_and_nobody_is_rejected",
    ),
    bug(
        "exhausted-and-no-park",
        "A thousand poisoned leads eat the day's calls, one search after the other.",
        _ISOLATING,
        "elif bisection.is_exhausted:",
        "elif bisection is None:",
        f"{_T_DELIVERY}test_where_many_are_poisoned_the_search_rests_before_it_goes_on",
    ),
    bug(
        "blamed-campaign-tried-with-one",
        "After leads that nobody named, one lead is tried: if it is taken, a call was spent for one of thousands.",
        _SENDING,
        " and not self._isolation.is_blamed(\n            lane.campaign.id\n        )",
        "",
        f"{_T_REFUSALS}test_it_comes_back_by_itself_once_the_campaign_takes_leads_again",
    ),
    bug(
        "halved-though-in-vain",
        "A campaign that refuses everybody is taken apart to its last lead.",
        _BISECTION,
        "if self._singled_out and not self._some_accepted:",
        "if self._singled_out is None:",
        f"{_T_BISECTION}test_where_all_are_refused_it_ends_in_vain_after_few_calls",
    ),
    bug(
        "one-between-the-halves",
        "A lead falls between two halves: nobody asks about it.",
        _BISECTION,
        "_Part(leads[middle:])",
        "_Part(leads[middle + 1 :])",
        f"{_T_BISECTION}test_up_to_three_poisoned_leads_are_condemned_and_nobody_else",
    ),
    bug(
        "both-halves-blamed",
        "A lead is rejected although nobody has sent it by itself.",
        _BISECTION,
        "        if len(sent) == 1:\n            self._singled_out[sent[0]] = seq\n",
        "        if len(sent) <= 2:\n            self._singled_out |= dict.fromkeys(sent, seq)\n",
        f"{_T_BISECTION}test_up_to_three_poisoned_leads_are_condemned_and_nobody_else",
    ),
    # -- intents whose commit was not answered
    bug(
        "doubtful-intent-forgotten",
        "A commit whose answer was lost leaves its leads in sending until the next start.",
        _SENDING,
        "            self._ledger.never_sent(self._term(), self._doubtful, self._clock())\n",
        "",
        f"{_T_INTERRUPTED}test_an_intent_whose_commit_is_not_answered_is_not_sent_and_its_leads_leave_on_a_later_turn",
    ),
    bug(
        "doubtful-intent-asked-for-once",
        "Where the ledger is away for two turns, those leads stay in sending, too.",
        _SENDING,
        "            self._ledger.never_sent(self._term(), self._doubtful, self._clock())\n"
        "            self._doubtful = None\n",
        "            doubtful, self._doubtful = self._doubtful, None\n"
        "            self._ledger.never_sent(self._term(), doubtful, self._clock())\n",
        f"{_T_INTERRUPTED}test_an_intent_whose_commit_is_not_answered_is_not_sent_and_its_leads_leave_on_a_later_turn",
    ),
    bug(
        "doubtful-intent-not-waited-for",
        "The commit is under way still: it is not found, and its leads stay in sending.",
        "syncd/ledger/ledger.py",
        "            calls.check_term(connection, self.home, term)  # waits for a commit",
        "            # waits for a commit",
        f"{_T_INTERRUPTED}test_an_intent_that_is_committed_while_its_sender_asks_for_it_is_found",
    ),
    bug(
        "doubtful-intent-whatever-its-outcome",
        "A call that was made and not answered is written down as not made: its leads are called twice.",
        _OUTCOMES,
        "select(call.c.n).where(call.c.id == call_id, call.c.state == CallState.INTENDED.value)",
        "select(call.c.n).where(call.c.id == call_id)",
        f"{_T_LEDGER}test_a_call_that_has_an_outcome_was_made",
    ),
    # -- calls that may be at work still
    bug(
        "left-at-forgotten",
        "After a call without an answer the next one leaves beside it: wolkvox refuses, or loses one.",
        _SENDING,
        "left_at = exchange.left_by(ended) if verdict.outcome is Outcome.UNKNOWN else None",
        "left_at = None",
        f"{_T_REFUSALS}test_after_an_unknown_outcome_the_next_call_waits_for_wolkvoxs_own_limit",
    ),
    bug(
        "left-when-it-began",
        "A call that took long to leave is taken to be over while wolkvox is at work on it.",
        "syncd/model.py",
        "ended - self.seconds + self.sent_secs",
        "ended - self.seconds",
        f"{_T_DELIVERY}test_a_call_counts_as_at_work_from_when_its_request_had_left",
    ),
    bug(
        "question-left-at-forgotten",
        "Leads are sent beside a question that wolkvox is at work on still.",
        _QUESTIONS,
        "left_at=exchange.left_by(ended) if is_at_work(exchange) else None,",
        "left_at=None,",
        f"{_T_QUESTIONS}test_a_question_without_an_answer_counts_as_at_work_for_a_minute",
    ),
    bug(
        "left-at-forgotten-at-the-start",
        "The call of a process that was killed is at work still when the next process sends.",
        _OUTCOMES,
        "left_at = min(now, started_at + LEAVES_SECS)",
        "left_at = None",
        f"{_T_CALLS}test_a_call_of_a_dead_process_has_left_before_its_death_or_soon_after_its_intent",
    ),
    bug(
        "left-with-its-intent",
        "A request leaves up to half a minute after its intent, and counts as over that much too early.",
        _CALLS,
        "LEAVES_SECS = 30.0",
        "LEAVES_SECS = 0.0",
        f"{_T_CALLS}test_an_unanswered_call_is_in_flight_until_wolkvoxs_own_limit",
    ),
    bug(
        "set-back-clock-blocks",
        "A clock that is set back by a day stops delivery for that day.",
        _CALLS,
        "sorted(min(at, now) for at in connection.scalars(_AT_WORK, given))",
        "sorted(connection.scalars(_AT_WORK, given))",
        f"{_T_CALLS}test_an_unanswered_call_is_in_flight_until_wolkvoxs_own_limit",
    ),
    bug(
        "park-of-a-set-back-clock",
        "A clock that is set back by a day makes a park of minutes last for that day.",
        "syncd/parking.py",
        "not is_set_back(now, park.since) and now < park.until",
        "now < park.until",
        "tests/delivery/test_parking.py::test_a_clock_that_is_set_far_back_makes_no_wait_longer",
    ),
    # -- what was delivered before the call that was not taken
    bug(
        "delivered-before-not-kept",
        "After a refused change nobody knows what was delivered: the same record calls its person again.",
        _CALLS,
        '{lead.c.fingerprint_before: lead.c.fingerprint, lead.c.fingerprint: bindparam("hash")}',
        '{lead.c.fingerprint: bindparam("hash")}',
        _CHANGE_NOT_TAKEN,
    ),
    bug(
        "delivered-before-lost-by-a-name",
        "A change that wolkvox refused by name, undone in the CRM, calls its person again.",
        _OUTCOMES,
        "                fingerprint=lead.c.fingerprint_before,\n",
        "                fingerprint=None,\n",
        _CHANGE_NOT_TAKEN,
    ),
    bug(
        "delivered-before-lost-by-a-refusal",
        "A change whose call was refused, undone in the CRM, calls its person again.",
        _OUTCOMES,
        "values |= NOT_TAKEN",
        f"values |= {_HASHES_LOST}",
        _CHANGE_NOT_TAKEN,
    ),
    bug(
        "delivered-before-lost-by-a-check",
        "A change that wolkvox was seen not to have, undone in the CRM, calls its person again.",
        _RESOLVING,
        ".values(again | NOT_TAKEN)",
        f".values(again | {_HASHES_LOST})",
        _CHANGE_NOT_TAKEN,
    ),
    # -- checks
    bug(
        "check-by-hand-waits",
        "Somebody asks for a check, and it comes an hour later.",
        _VERIFY,
        "if failure is None or (call.checks == 0",
        "if failure is None or (call.checks < 0",
        f"{_T_QUESTIONS}test_who_asks_for_a_check_need_not_wait_for_what_failed_before",
    ),
    bug(
        "had-before-taken-for-arrived",
        "wolkvox has a lead from before: a change of it that never arrived counts as delivered.",
        _VERIFY,
        "Finding.UNSURE if lead.id in blurred and found is Finding.THERE else found",
        "found",
        f"{_T_SETTLING}test_a_lead_that_was_delivered_before_is_found_by_its_marker_alone",
    ),
    bug(
        "had-before-asked-one-by-one",
        "The same, where there are few leads: what wolkvox had before is found, and believed.",
        _VERIFY,
        " and len(records) == len(held) and not blurred:",
        " and len(records) == len(held):",
        f"{_T_SETTLING}test_a_lead_that_was_delivered_before_is_found_by_its_marker_alone",
    ),
    bug(
        "had-before-whatever-the-marker",
        "What carries the call's own mark is not believed: nobody ever settles it.",
        _VERIFY,
        "if lead.before and marker is None}",
        "if lead.before}",
        f"{_T_VERIFY}test_a_lead_that_was_delivered_before_is_believed_by_its_marker",
    ),
    bug(
        "had-before-forgotten-in-a-change",
        "A lead whose row changed while it was delivered counts as one that wolkvox never had.",
        _RESOLVING,
        '(history.c.left_state == LeadState.DELIVERED.value) | history.c.cause.startswith("delivered,"),',
        "history.c.left_state == LeadState.DELIVERED.value,",
        f"{_T_LEDGER}test_a_lead_that_changed_while_it_was_delivered_was_there_before",
    ),
    bug(
        "question-at-work-asked-again",
        "wolkvox is at work on a question: the next one leaves beside it, and is refused or lost.",
        _VERIFY,
        "questions.one_is_at_work = is_at_work(exchange)",
        "questions.one_is_at_work = False",
        f"{_T_QUESTIONS}test_a_question_without_an_answer_counts_as_at_work_for_a_minute",
    ),
)
