"""Sabotages of the daemon's life: its two loops, its start, and a ledger that was restored from a copy."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, bug

_LOOPS = "syncd/loops.py"
_DAEMON = "syncd/daemon.py"
_RECOVERY = "syncd/recovery.py"
_RECOVERING = "syncd/ledger/recovering.py"
_WITNESS = "syncd/witness.py"
_T_LOOPS = "tests/daemon/test_loops.py::"
_T_RECOVERY = "tests/recovery/test_recovery.py::"
_T_WITNESS = "tests/recovery/test_witness.py::"
_T_LIFE = "tests/daemon/test_life.py::"

LIFE: Final[tuple[Bug, ...]] = (
    # -- the loops
    bug(
        "verification-starved",
        "While leads keep coming nobody asks what became of the lost calls.",
        _LOOPS,
        "if result.call is not None and 0 <= now - self._verified_at < _VERIFY_SECS:",
        "if result.call is not None:",
        f"{_T_LOOPS}test_however_busy_delivery_is_verification_has_its_turns_and_not_one_with_each_call",
    ),
    bug(
        "verification-starved-by-a-clock",
        "A clock that is set back by a day keeps verification waiting for that day.",
        _LOOPS,
        "0 <= now - self._verified_at < _VERIFY_SECS",
        "now - self._verified_at < _VERIFY_SECS",
        f"{_T_LOOPS}test_a_clock_that_is_set_back_keeps_verification_from_no_turn",
    ),
    bug(
        "verification-with-every-call",
        "Between any two calls with leads there are questions: the day's calls run out.",
        _LOOPS,
        "        if result.call is not None and 0 <=",
        "        if result.call is None and 0 <=",
        f"{_T_LOOPS}test_however_busy_delivery_is_verification_has_its_turns_and_not_one_with_each_call",
    ),
    bug(
        "verified-from-a-restored-ledger",
        "Calls that a restored ledger takes for unknown are settled by what it has forgotten.",
        _LOOPS,
        "if self.delivery.distrusts_ledger:",
        "if self.delivery.distrusts_ledger is None:",
        f"{_T_LOOPS}test_a_ledger_that_is_not_to_be_trusted_is_not_verified_from",
    ),
    bug(
        "ledger-away-ends-delivery",
        "A full disk, or a failover of seconds, and nothing leaves any more.",
        _LOOPS,
        "next_at = self._deliver_once()\n            except LedgerUnavailable as error:",
        "next_at = self._deliver_once()\n            except ZeroDivisionError as error:",
        f"{_T_LOOPS}test_a_ledger_that_is_away_ends_no_loop",
    ),
    bug(
        "ledger-away-ends-intake",
        "A full disk, or a failover of seconds, and no lead is captured any more.",
        _LOOPS,
        "result = due.run_once()\n            except LedgerUnavailable as error:",
        "result = due.run_once()\n            except ZeroDivisionError as error:",
        f"{_T_LOOPS}test_a_ledger_that_is_away_ends_no_loop",
    ),
    bug(
        "wake-lost",
        "A lead that comes while delivery looks waits for its next look, and goes cold.",
        _LOOPS,
        "            self.wake.clear()\n            try:\n                next_at = self._deliver_once()\n",
        "            try:\n                next_at = self._deliver_once()\n                self.wake.clear()\n",
        f"{_T_LOOPS}test_leads_that_come_while_delivery_looks_are_not_left_until_its_next_look",
    ),
    bug(
        "dead-loop-not-noticed",
        "A loop has ended, the daemon keeps the lease, and nothing leaves any more.",
        _LOOPS,
        "self.failure = error",
        "error.add_note(str(self.failure))",
        f"{_T_LOOPS}test_whatever_else_ends_a_loop_is_seen",
    ),
    bug(
        "dead-loop-not-heeded",
        "The main thread does not look whether its loops turn still.",
        _DAEMON,
        "if loops.failure is not None:",
        "if loops.failure is not None and self._signals.stop:",
        f"{_T_LOOPS}test_a_daemon_of_which_a_loop_has_ended_ends_and_says_where",
    ),
    bug(
        "first-sync-first",
        "A busy table is read again and again, and another one's leads go cold.",
        _LOOPS,
        "return min(due, key=lambda intake: self._turned.get(intake, 0)), 0.0",
        "return due[0], 0.0",
        f"{_T_LOOPS}test_of_two_syncs_that_are_always_due_none_keeps_the_other_waiting",
    ),
    # -- the start
    bug(
        "interrupted-calls-left-open",
        "The leads of a call that was under way at a death stay in sending for ever.",
        _DAEMON,
        "            self._recover(ledger, lease)\n",
        "",
        f"{_T_LIFE}test_killed_in_the_middle_of_load_again_and_again_it_loses_nothing_and_holds_the_call_in_flight",
    ),
    bug(
        "witness-not-read",
        "A ledger restored from yesterday is sent from.",
        _DAEMON,
        "if (warning := self._guard.begin()) is not None:",
        "if (warning := None) is not None:",
        "tests/recovery/test_restored.py::test_nothing_is_sent_twice_and_after_recovery_leads_go_on",
    ),
    # -- the witness
    bug(
        "tail-lost-before-the-intent",
        "A failover between the look and the intent: what was sent with its numbers is sent again.",
        _WITNESS,
        "if number <= self._said.number:",
        "if number < 0:",
        f"{_T_WITNESS}test_a_tail_that_is_lost_between_the_look_and_the_intent_is_noticed_before_the_post",
    ),
    bug(
        "held-by-one-host-alone",
        "Another host, whose witness knows nothing of it, sends from a restored ledger.",
        _WITNESS,
        "            self._ledger.restoration.hold(why)\n",
        "",
        f"{_T_WITNESS}test_a_tail_that_is_lost_while_it_runs_is_noticed_at_the_next_turn",
    ),
    bug(
        "any-call-of-that-number",
        "A ledger whose last calls were lost has others of their numbers by now, and is believed.",
        _RECOVERING,
        "has_call=found is not None and found == call_id,",
        "has_call=found is not None,",
        f"{_T_WITNESS}test_another_call_in_its_place_is_not_taken_for_it",
    ),
    bug(
        "witness-in-one-place",
        "A power cut while the witness is written leaves none: everything stands still.",
        _WITNESS,
        "os.pwrite(fd, slot, number % 2 * len(slot))",
        "os.pwrite(fd, slot, 0)",
        f"{_T_WITNESS}test_a_power_cut_in_the_middle_of_a_write_leaves_what_was_said_before",
    ),
    bug(
        "torn-witness-believed",
        "Half a statement names a call that never was: a whole ledger is taken for a restored one.",
        _WITNESS,
        'if slot["sum"] == zlib.crc32(slot["slot"].encode()):',
        'if slot["sum"]:',
        f"{_T_WITNESS}test_a_power_cut_in_the_middle_of_a_write_leaves_what_was_said_before",
    ),
    # -- recovery
    bug(
        "cut-export-releases",
        "Whoever is behind the 60,000th record of an export is called twice.",
        _RECOVERY,
        "if self.unproven:",
        "if self.unproven is None:",
        f"{_T_RECOVERY}test_an_export_that_may_be_cut_releases_nothing",
    ),
    bug(
        "emptied-campaign-releases",
        "Somebody emptied the campaign after it had dialled: everybody is called twice.",
        _RECOVERY,
        "return self._gone[campaign_id] > known / 2",
        "return self._gone[campaign_id] > known",
        f"{_T_RECOVERY}test_a_campaign_that_is_empty_says_so_with_a_404",
        f"{_T_RECOVERY}test_a_campaign_that_has_lost_most_of_what_it_had_proves_nothing",
    ),
    bug(
        "empty-ledger-and-campaign-release",
        "The ledger is lost and the campaign was emptied: everybody is called twice.",
        _RECOVERY,
        "return not held and self._said is not None and self._said.number > 0",
        "return False",
        f"{_T_RECOVERY}test_an_empty_ledger_and_an_emptied_campaign_prove_nothing_where_calls_were_made",
    ),
    bug(
        "empty-export-taken-as-proof",
        "An export that lacks its records, with status 200: everybody is called twice.",
        "syncd/questions.py",
        "empty = exchange.status == 200 and says_empty(exchange.body, campaign_id)",
        "empty = exchange.status == 200",
        f"{_T_RECOVERY}test_an_export_without_a_record_does_not_prove_that_there_is_none",
    ),
    bug(
        "marker-hides-records",
        "Each call has its own mark: no record is known again, and everybody is held.",
        _RECOVERY,
        "for name in COMPARED if name != self._config.delivery.batch_marker)",
        "for name in COMPARED)",
        f"{_T_RECOVERY}test_a_batch_marker_does_not_hide_a_record",
    ),
    bug(
        "unsure-not-held",
        "A lead that changed since it was sent, which nobody can tell, is called twice.",
        _RECOVERY,
        "(LeadState.HELD, [] if resend_changed else found.unsure),",
        "(LeadState.HELD, []),",
        f"{_T_RECOVERY}test_a_lead_that_changed_since_it_was_sent_is_held_for_a_person_to_decide",
    ),
    bug(
        "one-record-for-two-leads",
        "Somebody asks again: the record of their first row passes for the second, which is never called.",
        "syncd/restored.py",
        "        records[each.values] -= there\n",
        "",
        f"{_T_RECOVERY}test_a_record_vouches_for_one_lead_only",
    ),
    bug(
        "rows-that-no-longer-match-not-compared",
        "A lead that was called, and does not match today, is called again when it matches.",
        _RECOVERY,
        "reader = assembly.reader(sync, columns, self._connections.delivery, whatever_where=True)",
        "reader = lane.reader",
        f"{_T_RECOVERY}test_leads_that_no_longer_match_are_recognised_too",
    ),
    bug(
        "forgotten-calls-not-counted",
        "The calls of the lost tail are spent a second time: wolkvox refuses the last ones of the day.",
        _RECOVERING,
        "missing = max(0, used - calls.calls_started(connection, quota_day))",
        "missing = 0",
        f"{_T_RECOVERY}test_the_days_calls_that_were_forgotten_are_counted_again_and_the_act_is_written",
    ),
    bug(
        "recovered-under-the-old-id",
        "The lost ledger, should it come back, passes for the recovered one, and sends what that has sent.",
        _RECOVERING,
        "            _keep(connection, _UID, uid)\n",
        "",
        f"{_T_WITNESS}test_a_host_that_slept_through_a_recovery_takes_it_over",
    ),
    bug(
        "no-sweep-after-recovery",
        "What changed since the copy, and was captured before the loss, is never found.",
        _RECOVERING,
        ".values(gap=gap, resumed_at=now)",
        ".values(resumed_at=now)",
        f"{_T_RECOVERY}test_the_tables_are_swept_after_it",
    ),
    bug(
        "starts-forgotten",
        "A ledger that was lost begins at now once more: what waited in it is never called.",
        _RECOVERY,
        "self._since = dict(self._said.starts) if self._said else {}",
        "self._since = {}",
        "tests/recovery/test_restored.py::test_start_now_is_remembered_where_the_ledger_is_lost",
    ),
    bug(
        "recovered-though-deposed",
        "A recovery that was overtaken by a sender writes over what that has sent meanwhile.",
        _RECOVERING,
        "            calls.check_term(connection, self._home, term)\n            return _record(",
        "            return _record(",
        f"{_T_RECOVERY}test_who_is_not_the_sender_any_more_writes_nothing",
    ),
)
