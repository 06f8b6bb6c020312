"""The client's TLS: real servers on loopback, with certificates of a CA that the test makes.

Whoever cannot prove to be wolkvox gets no byte of the request, and the operator is told what is wrong with it.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from syncd.config.models import Wolkvox as Section
from syncd.model import Exchange
from syncd.replies import Outcome, judge
from syncd.wolkvox import Wolkvox
from tests.delivery.test_client import BODY, CAMPAIGN, GOOD, TOKEN
from tests.support.rawserver import Behaviour, Peer, RawServer, raw_server, response

LOOPBACK = "127.0.0.1"
Certified = Callable[[ssl.SSLContext], None]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """The CA that the machine trusts."""
    return trustme.CA()


@pytest.fixture(autouse=True)
def trusted(ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Trust it as an operator behind a proxy of his own would; no other name of a list of CAs is set."""
    for name in ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "trusted.pem"
    ca.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


@dataclass
class Seen:
    """What a server saw of the client."""

    server: RawServer
    failures: list[str] = field(default_factory=list)
    """Of the handshake, on the server's side."""
    words: bytes = b""
    """Whatever came through the encryption."""
    versions: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url.replace("http:", "https:")


def serving(certified: Certified) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certified(context)
    return context


def says(data: bytes) -> Behaviour:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)

    return behave


GRANTS = says(response(GOOD))


@contextmanager
def tls_server(context: ssl.SSLContext, behave: Behaviour = GRANTS, *, notify: bool = True) -> Iterator[Seen]:
    """A server that goes on with `behave` once the handshake is through; `notify` lets it end the TLS in good order."""

    def shake_hands(peer: Peer) -> None:
        try:
            peer.connection = wrapped = context.wrap_socket(peer.connection, server_side=True)
        except OSError as error:
            seen.failures.append(str(error))
            return
        with wrapped:
            seen.versions.append(wrapped.version())
            recorded = wrapped.recv

            def recv(*size: int) -> bytes:
                piece = recorded(*size)
                seen.words += piece
                return piece

            wrapped.recv = recv  # type: ignore[method-assign, assignment]
            behave(peer)
            if notify:
                with suppress(OSError):
                    wrapped.unwrap()

    with raw_server(shake_hands) as server:
        seen = Seen(server)
        yield seen


def call(url: str, secs: float = 10.0) -> Exchange:
    return Wolkvox(url, "0042", TOKEN, secs).add_record(CAMPAIGN, BODY)


def is_told_to_nobody(exchange: Exchange, seen: Seen, *words: str) -> None:
    """Nothing was sent, on one connection, and the sentence for the operator says why and what to do."""
    verdict = judge(exchange, 1)
    assert (exchange.sent, exchange.status, exchange.sent_secs) == (False, None, None)
    assert verdict.outcome is Outcome.NOT_SENT
    assert (seen.words, seen.server.requests) == (b"", [])
    assert seen.server.connections == 1
    for each in words:
        assert each in verdict.sentence
    assert verdict.sentence.endswith("Nothing was sent.") or not words
    assert TOKEN not in repr(exchange)


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what these versions are
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.minimum_version = version
    return context


# -- who is let in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("name", [LOOPBACK, "localhost"])
def test_a_certificate_of_a_trusted_ca_for_the_right_name_is_accepted(ca: trustme.CA, name: str, version: str) -> None:
    context = only(ssl.TLSVersion[version], serving(ca.issue_cert(name).configure_cert))
    with tls_server(context) as seen:
        exchange = call(seen.url.replace(LOOPBACK, name))
    assert judge(exchange, 1).outcome is Outcome.ACCEPTED
    assert (exchange.body, exchange.error, exchange.fault) == (GOOD, "", "")
    assert seen.versions == [version.replace("_", ".")]
    assert (seen.server.connections, len(seen.server.requests)) == (1, 1)


def test_a_chain_with_a_ca_between_is_accepted(ca: trustme.CA) -> None:
    with tls_server(serving(ca.create_child_ca().issue_cert(LOOPBACK).configure_cert)) as seen:
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: it names the files of a folder")
def test_a_folder_of_certificates_is_trusted(
    ca: trustme.CA, trusted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash", "-in", trusted], check=True, capture_output=True, text=True
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    trusted.rename(folder / f"{done.stdout.strip()}.0")
    monkeypatch.delenv("SSL_CERT_FILE")
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        is_told_to_nobody(call(seen.url), seen, "a CA that this machine does not trust")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED


def test_only_what_the_system_trusts_is_trusted(
    ca: trustme.CA, trusted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """certifi's list, which requests adds to any context, counts only where the system has none."""
    other = tmp_path / "other.pem"
    trusted.rename(other)
    trustme.CA().cert_pem.write_to_path(trusted)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setattr("syncd.wolkvox.DEFAULT_CA_BUNDLE_PATH", str(other))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(other))
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        is_told_to_nobody(call(seen.url), seen, "a CA that this machine does not trust")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nothing"))
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED


# -- who is not ----------------------------------------------------------------------------------------------

NOW = datetime.now(UTC)


def unknown_ca(ca: trustme.CA, folder: Path) -> Certified:
    return trustme.CA().issue_cert(LOOPBACK).configure_cert


def signed_by_itself(ca: trustme.CA, folder: Path) -> Certified:
    alone = trustme.CA()
    alone.cert_pem.write_to_path(folder / "alone.pem")
    alone.private_key_pem.write_to_path(folder / "alone.pem", append=True)
    return lambda context: context.load_cert_chain(folder / "alone.pem")


def expired(ca: trustme.CA, folder: Path) -> Certified:
    yesterday = NOW - timedelta(days=1)
    return ca.issue_cert(LOOPBACK, not_before=NOW - timedelta(days=9), not_after=yesterday).configure_cert


def not_yet_valid(ca: trustme.CA, folder: Path) -> Certified:
    tomorrow = NOW + timedelta(days=1)
    return ca.issue_cert(LOOPBACK, not_before=tomorrow, not_after=NOW + timedelta(days=9)).configure_cert


def for_another_address(ca: trustme.CA, folder: Path) -> Certified:
    return ca.issue_cert("127.0.0.2", "localhost").configure_cert


def for_another_name(ca: trustme.CA, folder: Path) -> Certified:
    return ca.issue_cert(LOOPBACK, "wolkvox.example.com", common_name="localhost").configure_cert


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize(
    ("certify", "name", "what", "remedy"),
    [
        (unknown_ca, LOOPBACK, "is of a CA that this machine does not trust", "SSL_CERT_FILE"),
        (signed_by_itself, LOOPBACK, "is signed by itself", "SSL_CERT_FILE"),
        (expired, LOOPBACK, "has expired", "clock"),
        (not_yet_valid, LOOPBACK, "is not valid yet", "clock"),
        (for_another_address, LOOPBACK, "is for another IP address", "wolkvox.base_url"),
        (for_another_name, "localhost", "is for another host name", "wolkvox.base_url"),
    ],
)
def test_a_wrong_certificate_gets_no_byte_of_the_request(
    ca: trustme.CA,
    tmp_path: Path,
    certify: Callable[[trustme.CA, Path], Certified],
    name: str,
    what: str,
    remedy: str,
    version: str,
) -> None:
    with tls_server(only(ssl.TLSVersion[version], serving(certify(ca, tmp_path)))) as seen:
        exchange = call(seen.url.replace(LOOPBACK, name))
    is_told_to_nobody(exchange, seen, what, remedy)


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_a_server_without_a_modern_tls_gets_no_byte_of_the_request(ca: trustme.CA, version: str) -> None:
    context = only(ssl.TLSVersion[version], serving(ca.issue_cert(LOOPBACK).configure_cert))
    context.set_ciphers("ALL:@SECLEVEL=0")
    lax = only(ssl.TLSVersion[version], ssl.create_default_context())
    lax.set_ciphers("ALL:@SECLEVEL=0")
    with (
        tls_server(context) as able,
        socket.create_connection((LOOPBACK, able.server.port)) as plain,
        lax.wrap_socket(plain, server_hostname=LOOPBACK) as wrapped,
    ):
        assert wrapped.version() == version.replace("_", ".")  # so it is not refused for being broken
    with tls_server(context) as seen:
        is_told_to_nobody(call(seen.url), seen, "no TLS 1.2 or later", "brought up to date")


def test_a_server_of_plain_http_gets_no_byte_of_the_request() -> None:
    said: list[bytes] = []

    def behave(peer: Peer) -> None:
        said.append(peer.connection.recv(65_536))
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with raw_server(behave) as server:
        seen = Seen(server)
        is_told_to_nobody(call(seen.url), seen, "does not speak TLS", "wolkvox.base_url")
    for each in (TOKEN.encode(), b"add_record", b"campaign", BODY):
        assert each not in b"".join(said)


def silent(peer: Peer) -> None:
    peer.wait_for_hang_up()


def dripping(peer: Peer) -> None:
    peer.drip(b"\x16\x03\x03\x3f\xff" + bytes(2000), 0.02)


@pytest.mark.parametrize("behave", [silent, dripping])
def test_a_handshake_that_does_not_end_is_left_at_the_deadline(behave: Behaviour) -> None:
    with raw_server(behave) as server:
        seen = Seen(server)
        exchange = call(seen.url, 0.4)
        is_told_to_nobody(exchange, seen)
    assert 0.35 < exchange.seconds < 3
    assert exchange.error.startswith("no connection")


@pytest.mark.parametrize("read", [0, 1, 65_536])
@pytest.mark.parametrize("reset", [True, False])
def test_a_line_cut_in_the_handshake_sent_nothing(read: int, *, reset: bool) -> None:
    def behave(peer: Peer) -> None:
        if read:
            peer.connection.recv(read)
        if reset:
            peer.reset()

    with raw_server(behave) as server:
        seen = Seen(server)
        is_told_to_nobody(call(seen.url), seen)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_line_cut_right_after_the_handshake_may_have_carried_the_request(
    ca: trustme.CA, version: str, *, reset: bool
) -> None:
    """The server of this test has read nothing, but nothing that the client can see proves it."""

    def behave(peer: Peer) -> None:
        if reset:
            peer.reset()

    context = only(ssl.TLSVersion[version], serving(ca.issue_cert(LOOPBACK).configure_cert))
    with tls_server(context, behave, notify=not reset) as seen:
        exchange = call(seen.url)
    assert (exchange.sent, exchange.status, exchange.fault) == (True, None, "")
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN
    assert seen.server.connections == 1


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        ("TLSv1_2", False),
        # The client's part of this handshake is over before the server looks for a certificate: the request is
        # under way by then, and the alert that comes back does not say how much of it was read.
        ("TLSv1_3", True),
    ],
)
def test_a_server_that_demands_a_certificate_of_the_client_takes_nothing(
    ca: trustme.CA, version: str, *, sent: bool
) -> None:
    context = only(ssl.TLSVersion[version], serving(ca.issue_cert(LOOPBACK).configure_cert))
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    with tls_server(context) as seen:
        exchange = call(seen.url)
        if not sent:
            is_told_to_nobody(exchange, seen, "may demand a certificate of the client", "let it in without")
    assert (exchange.sent, exchange.status, seen.words) == (sent, None, b"")
    assert judge(exchange, 1).outcome is (Outcome.UNKNOWN if sent else Outcome.NOT_SENT)
    assert len(seen.failures) == seen.server.connections == 1


# -- amid a reply --------------------------------------------------------------------------------------------

CHUNKED = response(b"", "201 Created", "Transfer-Encoding: chunked", length=None)


@pytest.mark.parametrize("notify", [True, False])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize(
    "part",
    [b"", response(GOOD)[:20], response(GOOD)[:-1], response(GOOD[:-1], length=None), CHUNKED + b"10\r\n" + GOOD[:16]],
    ids=["nothing", "status", "length", "no length", "chunk"],
)
def test_half_a_reply_is_no_reply(ca: trustme.CA, part: bytes, version: str, *, notify: bool) -> None:
    context = only(ssl.TLSVersion[version], serving(ca.issue_cert(LOOPBACK).configure_cert))
    with tls_server(context, says(part), notify=notify) as seen:
        exchange = call(seen.url)
    assert exchange.sent
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN
    assert (seen.server.connections, len(seen.server.requests)) == (1, 1)


def test_a_whole_reply_needs_no_farewell(ca: trustme.CA) -> None:
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert), notify=False) as seen:
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED


def test_bytes_from_outside_the_encryption_amid_a_reply_make_it_unknown(ca: trustme.CA) -> None:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(response(GOOD)[:-20])
        os.write(peer.connection.fileno(), GOOD[-20:])
        peer.wait_for_hang_up()

    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert), behave, notify=False) as seen:
        exchange = call(seen.url)
    assert (exchange.sent, exchange.status) == (True, None)
    assert judge(exchange, 1).outcome is Outcome.UNKNOWN


def test_the_deadline_counts_within_the_encryption(ca: trustme.CA) -> None:
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.drip(response(GOOD), 0.05)

    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert), behave, notify=False) as seen:
        exchange = call(seen.url, 0.6)
    assert (exchange.sent, exchange.status, exchange.error) == (True, None, "no whole reply within the time")
    assert exchange.seconds < 3


def test_a_handshake_amid_the_reply_is_refused() -> None:
    """A server of another kind could ask for one (TLS 1.2); Python's cannot be made to."""
    client = Wolkvox("https://localhost", "0042", TOKEN, 1)
    assert client._tls is not None
    assert client._tls.options & ssl.OP_NO_RENEGOTIATION


# -- what the environment may and may not do -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_other_names_for_a_list_of_cas_change_nothing(
    ca: trustme.CA, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    monkeypatch.setenv(name, str(tmp_path / "stranger.pem"))
    with tls_server(serving(stranger.issue_cert(LOOPBACK).configure_cert)) as seen:
        is_told_to_nobody(call(seen.url), seen, "a CA that this machine does not trust")
    monkeypatch.setenv(name, str(tmp_path / "nothing-is-here.pem"))
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_proxies_of_the_environment_are_ignored(ca: trustme.CA, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    with raw_server(silent) as proxy, tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        monkeypatch.setenv(name, proxy.url)
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED
        assert proxy.connections == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("PYTHONHTTPSVERIFY", "0"), ("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", ""), ("SSL_VERIFY", "0")],
)
def test_verification_cannot_be_switched_off(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with tls_server(serving(trustme.CA().issue_cert(LOOPBACK).configure_cert)) as seen:
        is_told_to_nobody(call(seen.url), seen, "a CA that this machine does not trust")


def test_the_configuration_has_no_word_for_it() -> None:
    assert not [
        name for name in Section.model_fields if any(word in name for word in ("tls", "ssl", "verify", "secur"))
    ]


def test_the_keys_of_a_connection_are_written_nowhere(
    ca: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with tls_server(serving(ca.issue_cert(LOOPBACK).configure_cert)) as seen:
        assert judge(call(seen.url), 1).outcome is Outcome.ACCEPTED
    assert not (tmp_path / "keys").exists()
