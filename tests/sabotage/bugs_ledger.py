"""Sabotages of the ledger: intents, outcomes, durability, states, the lease, hashes."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, Edit, bug

_CALLS = "syncd/ledger/calls.py"
_OUTCOMES = "syncd/ledger/outcomes.py"
_HOME = "syncd/ledger/home.py"
_LEASE = "syncd/ledger/lease.py"
_STATES = "syncd/states.py"
_T_CALLS = "tests/ledger/test_calls.py::"
_T_HOME = "tests/ledger/test_home.py::"
_T_LEASE = "tests/ledger/test_lease.py::"
_T_CAPTURES = "tests/ledger/test_captures.py::"

LEDGER: Final[tuple[Bug, ...]] = (
    bug(
        "lease-not-checked",
        "A deposed sender goes on: two daemons send the same leads.",
        _CALLS,
        "if term is not None and found != term:",
        "if term is not None and found is None:",
        f"{_T_CALLS}test_a_deposed_sender_writes_no_intent",
        "tests/delivery/test_sending.py::test_a_deposed_sender_posts_nothing",
    ),
    bug(
        "lease-checked-without-lock",
        "Another takes over between the check and the commit: two senders for one call.",
        _CALLS,
        "_TERM.with_for_update()",
        "_TERM.order_by(lease.c.id)",
        f"{_T_LEASE}test_nobody_takes_over_between_the_check_of_the_term_and_the_commit",
    ),
    bug(
        "quota-counts-successes",
        "Refused and lost calls cost nothing here, but there: the afternoon is silent.",
        _CALLS,
        'where(call.c.quota_day == bindparam("of_day"))',
        'where(call.c.quota_day == bindparam("of_day"), call.c.state == "accepted")',
        f"{_T_CALLS}test_a_call_costs_a_unit_whatever_came_of_it",
    ),
    bug(
        "quota-off-by-one",
        "One call more than the day has.",
        _CALLS,
        "if used >= intent.budget:",
        "if used > intent.budget:",
        f"{_T_CALLS}test_a_quota_day_sees_exactly_its_budget_of_calls",
    ),
    bug(
        "sync-not-locked",
        "A change that comes between claim and intent is forgotten.",
        _CALLS,
        'select(sync.c.id).where(sync.c.id == bindparam("of_sync")).with_for_update()',
        'select(sync.c.id).where(sync.c.id == bindparam("of_sync"))',
        "tests/ledger/test_sabotaged.py::test_a_change_waits_for_the_transaction_that_takes_its_lead_aboard",
    ),
    bug(
        "rank-ignored",
        "Fresh leads wait behind a year of old ones.",
        _CALLS,
        ".order_by(lead.c.rank, lead.c.captured_at, lead.c.id)",
        ".order_by(lead.c.captured_at, lead.c.id)",
        f"{_T_CAPTURES}test_what_was_there_at_the_start_waits_behind_what_is_fresh",
    ),
    bug(
        "last-come-first-served",
        "Who has waited longest waits for ever.",
        _CALLS,
        ".order_by(lead.c.rank, lead.c.captured_at, lead.c.id)",
        ".order_by(lead.c.rank, lead.c.captured_at.desc(), lead.c.id)",
        f"{_T_CALLS}test_a_claim_takes_those_that_have_waited_longest_and_writes_nothing",
    ),
    bug(
        "change-at-the-intent-forgotten",
        "A row corrected while it was being read stays as it was sent.",
        _CALLS,
        "changed=case((lead.c.seq > seq, 1), else_=0)",
        "changed=0",
        f"{_T_CALLS}test_a_change_between_claim_and_intent_is_remembered",
    ),
    bug(
        "settled-though-changed",
        "A lead is settled by a row that is not its row any more.",
        _CALLS,
        ', lead.c.state == "pending", lead.c.seq <= seq)',
        ', lead.c.state == "pending")',
        f"{_T_CALLS}test_a_lead_that_changed_after_the_claim_stays_pending",
    ),
    bug(
        "aboard-whatever-its-state",
        "A lead that was delivered meanwhile is sent again.",
        _CALLS,
        'intent.lead_ids), lead.c.state == "pending")',
        "intent.lead_ids))",
        f"{_T_CALLS}test_a_lead_that_is_not_pending_boards_no_call",
    ),
    bug(
        "unanswered-call-not-in-flight",
        "A second call meets the first one, which wolkvox is still at work on.",
        _CALLS,
        '    .union_all(select(call.c.left_at).where(call.c.left_at > bindparam("left_after")))\n',
        "",
        f"{_T_CALLS}test_an_unanswered_call_is_in_flight_until_wolkvoxs_own_limit",
    ),
    bug(
        "held-person-not-known",
        "Who may have been called a minute ago is called again by another row.",
        _CALLS,
        'lead.c.state.in_(("sending", "held")),',
        'lead.c.state.in_(("sending",)),',
        "tests/delivery/test_sending.py::test_nobody_is_called_again_while_the_outcome_of_their_call_is_unknown",
    ),
    bug(
        "tally-drifts",
        "The pages, the pacing and the alarms count leads that are not there.",
        _OUTCOMES,
        "shift_tally(connection, int(row.sync_id), shifts)",
        "shift_tally(connection, int(row.sync_id), settled)",
        "tests/delivery/test_sending.py::test_leads_leave_in_one_call_and_are_delivered",
    ),
    bug(
        "outcome-written-twice",
        "A late second outcome overwrites the first, and frees leads that were delivered.",
        _OUTCOMES,
        '        call.c.n == bindparam("number"),\n'
        "        call.c.state.in_([literal_column(\"'intended'\"), literal_column(\"'unknown'\")]),\n",
        '        call.c.n == bindparam("number"),\n',
        f"{_T_CALLS}test_a_held_call_is_settled_later_once",
    ),
    bug(
        "outcome-of-all-calls",
        "One reply settles the leads of every other call, too.",
        _OUTCOMES,
        '(lead.c.call_n == bindparam("number"), IN_FLIGHT)',
        '(lead.c.call_n + bindparam("number") > 0, IN_FLIGHT)',
        f"{_T_CALLS}test_an_outcome_settles_the_leads_of_its_call_alone",
    ),
    bug(
        "interrupted-back-to-pending",
        "After a crash in the middle of a call, everybody in it is called twice.",
        _OUTCOMES,
        'Ending(CallState.UNKNOWN, now, None, "interrupted", sentence, LeadState.HELD, left_at=left_at)',
        'Ending(CallState.NOT_SENT, now, None, "interrupted", sentence, LeadState.PENDING)',
        f"{_T_CALLS}test_a_start_holds_the_leads_of_every_call_that_was_under_way",
        "tests/delivery/test_interrupted.py::test_a_process_that_dies_around_its_post_holds_its_leads_and_posts_no_second_time",
    ),
    bug(
        "change-under-way-dropped",
        "A telephone number corrected while its call was under way is never sent.",
        _OUTCOMES,
        "if after_settling(ending.rest, changed=True, resend_changed=resend_changed) is LeadState.PENDING:",
        "if after_settling(ending.rest, changed=False, resend_changed=resend_changed) is LeadState.PENDING:",
        f"{_T_CALLS}test_a_change_while_in_flight_is_considered_after_settling",
    ),
    bug(
        "synchronous-normal",
        "A power cut forgets the last intents: their leads are sent again.",
        _HOME,
        '"synchronous=FULL"',
        '"synchronous=NORMAL"',
        f"{_T_HOME}test_every_commit_waits_for_the_disk",
    ),
    bug(
        "synchronous-commit-off",
        "A crash of the server forgets the last intents: their leads are sent again.",
        _HOME,
        "-c synchronous_commit=on",
        "-c synchronous_commit=off",
        f"{_T_HOME}test_every_commit_waits_for_the_disk",
    ),
    bug(
        "readers-that-turn-writers",
        "Two writers of one SQLite file: one fails in the middle of an outcome.",
        _HOME,
        '"BEGIN IMMEDIATE" if writes else "BEGIN"',
        '"BEGIN"',
        "tests/ledger/test_sabotaged.py::test_whoever_reads_and_then_writes_keeps_other_processes_from_writing_between",
    ),
    bug(
        "delivered-sent-again",
        "Every row that is touched in the CRM calls its person again.",
        _STATES,
        "if state in (LeadState.DELIVERED, LeadState.UNCHANGED) and not resend_changed:",
        "if state is LeadState.UNCHANGED and not resend_changed:",
        f"{_T_CAPTURES}test_resend_never_leaves_what_was_delivered_and_when_changed_does_not",
        "tests/delivery/test_sending.py::test_a_delivered_lead_is_never_sent_again",
    ),
    bug(
        "held-recaptured",
        "A row that is touched while its outcome is unknown is sent again.",
        _STATES,
        "if state in (LeadState.SENDING, LeadState.HELD):",
        "if state is LeadState.SENDING:",
        "tests/ledger/test_sabotaged.py::test_a_lead_whose_outcome_is_not_known_stays_where_it_is_when_its_row_changes",
    ),
    bug(
        "change-not-remembered",
        "A change that comes while the call is under way is lost.",
        _STATES,
        "return Recapture(state, remember=True)",
        "return Recapture(state, remember=False)",
        f"{_T_CALLS}test_a_change_while_in_flight_is_considered_after_settling",
    ),
    bug(
        "lease-never-held",
        "A second daemon takes over from a living one: two senders.",
        _LEASE,
        "row.expires_at > now and not _is_dead(row.holder)",
        "row.expires_at > now + 3600 and not _is_dead(row.holder)",
        f"{_T_LEASE}test_a_living_process_keeps_every_other_from_sending",
        f"{_T_LEASE}test_a_sender_on_another_host_is_believed_until_its_lease_expires",
    ),
    bug(
        "lease-never-expires",
        "A host that died keeps the others from sending for ever.",
        _LEASE,
        "row.expires_at > now and not _is_dead(row.holder)",
        "row.expires_at > 0 and not _is_dead(row.holder)",
        f"{_T_LEASE}test_a_sender_on_another_host_is_believed_until_its_lease_expires",
        f"{_T_LEASE}test_a_sender_that_was_frozen_and_thawed_finds_that_it_was_deposed",
    ),
    bug(
        "term-not-raised",
        "A thawed sender finds its own term, and sends beside its successor.",
        _LEASE,
        '"term": row.term + 1,',
        '"term": max(1, row.term),',
        f"{_T_LEASE}test_each_takeover_raises_the_term",
    ),
    bug(
        "lease-by-our-own-clock",
        "Two hosts whose clocks differ both believe that the lease is theirs.",
        _LEASE,
        "        if self._home.is_sqlite:\n            return self._clock()",
        "        if self._clock is not None:\n            return self._clock()",
        f"{_T_LEASE}test_a_lease_lives_by_the_databases_clock",
    ),
    bug(
        "lock-file-shared",
        "Two daemons on one SQLite file both send.",
        _LEASE,
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        f"{_T_LEASE}test_a_living_process_keeps_every_other_from_sending",
    ),
    bug(
        "renewed-though-deposed",
        "A deposed sender renews the lease of its successor, and never stops.",
        _LEASE,
        ".where(lease.c.id == 1, lease.c.term == self.term)\n                .values(expires_at=self._now",
        ".where(lease.c.id == 1)\n                .values(expires_at=self._now",
        f"{_T_LEASE}test_a_sender_that_was_frozen_and_thawed_finds_that_it_was_deposed",
    ),
    bug(
        "hashes-without-key",
        "Whoever has the ledger guesses every telephone number in a second.",
        "syncd/ledger/hashes.py",
        "hmac.digest(self._key + purpose, data,",
        "hmac.digest(purpose, data,",
        f"{_T_CALLS}test_a_ledger_with_another_hash_key_is_refused_in_a_sentence",
    ),
    Bug(
        "watermark-before-keys",
        "A crash between the two loses every lead of a page.",
        (
            Edit(
                "syncd/ledger/ledger.py",
                "        with self.home.write() as connection:\n            return captures.capture(",
                "        with self.home.write() as connection:\n"
                "            if reached is not None:\n"
                "                captures.move(connection, sync_id, watermark=reached)\n"
                "        with self.home.write() as connection:\n            return captures.capture(",
            ),
        ),
        (f"{_T_CAPTURES}test_keys_and_watermark_are_committed_together_or_not_at_all",),
    ),
    bug(
        "versions-not-compared",
        "Each poll takes the rows in its window for changed, and sends them again.",
        "syncd/ledger/captures.py",
        "if version == seen[key]:",
        "if version is None:",
        f"{_T_CAPTURES}test_the_same_version_seen_again_changes_nothing",
        "tests/capture/test_conformance.py::test_a_change_is_seen_by_its_version_and_makes_no_second_lead",
    ),
)
