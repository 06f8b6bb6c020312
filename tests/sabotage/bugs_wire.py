"""Sabotages of the wire: what a reply means, the client, and what may be said of a call."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug, Edit, bug

_REPLIES = "syncd/replies.py"
_CLIENT = "syncd/wolkvox.py"
_T_REPLIES = "tests/replies/test_replies.py::"
_T_CLIENT = "tests/delivery/test_client.py::"
_T_OWN = "tests/delivery/test_sabotaged.py::"

WIRE: Final[tuple[Bug, ...]] = (
    bug(
        "new-text-taken-for-refusal",
        "The vendor words an acceptance anew, and everybody is called twice.",
        _REPLIES,
        "    if meaning is None:\n",
        "    if meaning is None and exchange.status == 404:\n"
        '        return Verdict("refused", Outcome.REFUSED, (), Scope.NOTHING, 0, "Refused.", code)\n'
        "    if meaning is None:\n",
        f"{_T_REPLIES}test_a_new_text_or_status_is_unknown",
    ),
    bug(
        "server-error-taken-for-refusal",
        "A gateway that gave up does not know that the server behind it took the records.",
        _REPLIES,
        "    envelope = _envelope(exchange.body)\n",
        "    if exchange.status >= 500:\n"
        '        return Verdict("refused", Outcome.REFUSED, (), Scope.NOTHING, 0, "Refused.", "")\n'
        "    envelope = _envelope(exchange.body)\n",
        f"{_T_REPLIES}test_a_new_text_or_status_is_unknown",
        f"{_T_REPLIES}test_no_whole_reply_is_unknown",
        "tests/delivery/test_refusals.py::test_an_unknown_outcome_is_held_and_never_posted_again",
    ),
    bug(
        "no-reply-taken-for-not-sent",
        "A read timeout is tried again at once: everybody is called twice.",
        _REPLIES,
        "if not exchange.sent:",
        "if not exchange.sent or exchange.status is None:",
        f"{_T_REPLIES}test_no_whole_reply_is_unknown",
    ),
    bug(
        "totals-ignored",
        "wolkvox says that it took 3 of 10, and all 10 count as called.",
        _REPLIES,
        "if errors == () and failed in (None, 0) and taken <= {records}:",
        "if errors == ():",
        f"{_T_REPLIES}test_an_acceptance_that_contradicts_itself_is_unknown",
    ),
    bug(
        "refusals-totals-ignored",
        "A refusal of all that took 9 of 10 sends the 9 again.",
        _REPLIES,
        'if errors is None or _count(totals, "total_success") not in (None, 0):',
        "if errors is None:",
        f"{_T_REPLIES}test_a_refusal_that_contradicts_itself_is_unknown",
    ),
    bug(
        "position-off-by-one",
        "The neighbour of a bad record is rejected, and the bad one counts as called.",
        _REPLIES,
        "RecordError(int(match[1]), _reason(entry))",
        "RecordError(int(match[1]) + 1, _reason(entry))",
        f"{_T_REPLIES}test_records_refused_one_by_one_are_named_by_position",
    ),
    bug(
        "part-taken-for-all",
        "Records that wolkvox refused by name count as called.",
        _REPLIES,
        'return Verdict("accepted-in-part", outcome, errors,',
        'return Verdict("accepted", Outcome.ACCEPTED, (),',
        f"{_T_REPLIES}test_a_batch_taken_in_part_names_those_that_were_not",
    ),
    bug(
        "unnamed-refusals-skipped",
        "An error that names no position is passed over, and its record counts as called.",
        _REPLIES,
        "        if match is None or int(match[1]) >= records:\n            return None\n",
        "        if match is None or int(match[1]) >= records:\n            continue\n",
        f"{_T_REPLIES}test_an_acceptance_that_contradicts_itself_is_unknown",
    ),
    bug(
        "code-not-compared",
        "A 200 that carries an error counts as an acceptance, and an error page with code 201, too.",
        _REPLIES,
        'if not agrees and not (status == NOT_NOW_STATUS and code == ""):',
        "if not agrees and not code:",
        f"{_T_REPLIES}test_where_status_and_code_differ_neither_is_believed",
    ),
    bug(
        "ten-read-as-none",
        '"10 records has been added" reads as "0 records": ten people are called twice.',
        _REPLIES,
        'r"(?<!\\d)0 records has been added"',
        'r"0 records has been added"',
        f"{_T_REPLIES}test_ten_records_added_are_not_none",
    ),
    bug(
        "reason-quotes-the-lead",
        "A telephone number that wolkvox repeats lands in the ledger and in logs.",
        _REPLIES,
        'return re.sub(r"\\d{4,}|\\S+@\\S+|[\\x00-\\x1f\\x7f]", "…", words)[:200]',
        "return words[:200]",
        f"{_T_REPLIES}test_a_reason_does_not_repeat_what_may_be_a_value_of_the_lead",
    ),
    Bug(
        "redirects-followed",
        "The token goes wherever a reply points to, and a POST is repeated there.",
        (
            Edit(_CLIENT, "with _Session() as session:", "with requests.Session() as session:"),
            Edit(_CLIENT, "allow_redirects=False", "allow_redirects=True"),
        ),
        (f"{_T_CLIENT}test_a_redirect_is_not_followed_and_the_token_goes_nowhere",),
    ),
    bug(
        "redirects-read-without-limit",
        "A hostile redirect with an endless body fills the memory.",
        _CLIENT,
        "with _Session() as session:",
        "with requests.Session() as session:",
        f"{_T_CLIENT}test_a_reply_is_read_up_to_a_limit",
        f"{_T_CLIENT}test_a_redirect_to_nowhere_is_a_reply_like_any_other",
    ),
    bug(
        "proxies-of-the-environment",
        "Token and leads go through whatever proxy a shell had set.",
        _CLIENT,
        "session.trust_env = False",
        "session.trust_env = True",
        f"{_T_CLIENT}test_proxies_of_the_environment_are_ignored",
    ),
    bug(
        "retried-by-the-library",
        "A line that broke after the request repeats the POST, unseen.",
        _CLIENT,
        "max_retries=0",
        "max_retries=urllib3.Retry(2, allowed_methods=None)",
        f"{_T_CLIENT}test_half_a_reply_is_no_reply",
        f"{_T_CLIENT}test_under_every_fault_one_request_arrives_and_nothing_is_said_that_is_not_so",
    ),
    Bug(
        "connection-used-again",
        "A connection that the server has just closed turns a plain refusal into an unknown outcome.",
        (
            Edit(_CLIENT, '            "Connection": "close",\n', ""),
            Edit(
                _CLIENT,
                "            with _Session() as session:\n",
                "            session = self.__dict__.setdefault('session', _Session())\n            if session:\n",
            ),
            Edit(
                _CLIENT,
                "                adapter = _OneCall(wire, self._tls)\n",
                "                adapter = self.__dict__.setdefault('adapter', _OneCall(wire, self._tls))\n",
            ),
        ),
        (f"{_T_OWN}test_a_server_that_would_keep_the_line_gets_a_new_one_for_each_call",),
    ),
    bug(
        "deadline-per-read",
        "A reply that drips in keeps the sender waiting all day.",
        _CLIENT,
        "threading.Timer(self.timeout_secs, wire.expire)",
        "threading.Timer(self.timeout_secs, wire.__init__)",
        f"{_T_CLIENT}test_the_deadline_is_for_the_whole_exchange",
    ),
    bug(
        "old-tls-allowed",
        "Token and leads can be read on the way.",
        _CLIENT,
        "context.minimum_version = ssl.TLSVersion.TLSv1_2",
        "context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED",
        f"{_T_OWN}test_tls_is_1_2_or_later",
    ),
    Bug(
        "certificates-not-verified",
        "Anybody on the way is taken for wolkvox, and gets token and leads.",
        (
            Edit(_CLIENT, 'conn.cert_reqs = "CERT_REQUIRED"', 'conn.cert_reqs = "CERT_NONE"'),
            Edit(
                _CLIENT,
                "context.load_default_certs()",
                "context.load_default_certs()\n    context.check_hostname = False",
            ),
        ),
        (f"{_T_OWN}test_a_certificate_that_nobody_vouches_for_gets_nothing",),
    ),
    bug(
        "replies-without-limit",
        "A hostile reply fills the memory, and the process dies with a call in flight.",
        _CLIENT,
        "if received.tell() > limit:",
        "if received.tell() < 0:",
        f"{_T_CLIENT}test_a_reply_is_read_up_to_a_limit",
    ),
    bug(
        "sent-noticed-too-late",
        "A line that broke in the middle of the body counts as never sent: called twice.",
        _CLIENT,
        "self.connected = not self.expired",
        "self.connected = False",
        f"{_T_CLIENT}test_a_line_cut_once_a_byte_was_read_may_have_sent_something",
    ),
    bug(
        "half-a-reply-believed",
        "A reply that was cut off reads as whole.",
        _CLIENT,
        "received = _bounded(response, limit)",
        "response.raw.enforce_content_length = False\n                    received = _bounded(response, limit)",
        f"{_T_CLIENT}test_a_reply_shorter_than_it_says_is_unknown_and_one_longer_is_cut",
        f"{_T_CLIENT}test_half_a_reply_is_no_reply",
    ),
    bug(
        "errors-quote-the-library",
        "A library's words about a reply carry addresses and values into the logs.",
        _CLIENT,
        'return f"the connection broke ({type(caught).__name__})"',
        'return f"the connection broke ({caught})"',
        f"{_T_OWN}test_what_went_wrong_is_said_without_a_word_of_the_reply",
    ),
    bug(
        "database-errors-quote-values",
        "A driver's words about a failed statement carry keys and values into the logs.",
        "syncd/ledger/home.py",
        'return f"{type(original).__name__} ({code})"',
        'return f"{original} ({code})"',
        "tests/ledger/test_home.py::test_an_error_of_the_database_tells_no_key",
    ),
    bug(
        "plain-http-allowed",
        "Token and leads can be read on the way.",
        "syncd/config/rules.py",
        'if parts.scheme == "http" and not is_loopback(parts.hostname):',
        'if parts.scheme == "ftp":',
        "tests/config/test_sabotaged.py::test_a_token_never_goes_over_plain_http_to_another_host",
    ),
    bug(
        "pages-open-to-all",
        "Pages without a password can be read from the network.",
        "syncd/config/models.py",
        "if not rules.is_loopback(host):",
        "if not host:",
        "tests/config/test_sabotaged.py::test_the_pages_never_listen_to_the_network",
    ),
)
