"""The one module that speaks HTTP to wolkvox.

It says what happened on the wire and judges nothing (`replies` does). It never repeats a request: no redirects, no
retries, no connection used twice (a stale one would turn a refused connection into an unknown outcome), no proxy
from the environment. The deadline is for the whole exchange: a timer shuts the socket down, since the time-outs of
sockets are for each read, and a slow drip would never meet one.

Mutable state: none that outlives a call; the token, which never changes.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection

from syncd.model import Campaign, Exchange

CONNECT_SECS = 10.0
REPLY_LIMIT_BYTES = 64 * 1024 * 1024
"""More than 10,000 error entries need."""
EXPORT_LIMIT_BYTES = 256 * 1024 * 1024
"""What a call may give at most (vendor's documentation)."""
SERVER_SECS = 60.0
"""wolkvox's own limit for one call (vendor's documentation): until then a call may still be at work there."""
_CHUNK = 65_536
# urllib3's lines quote addresses, and so the customer that is asked about; Python shows its warnings unasked.
_talk = logging.getLogger("urllib3")
_talk.setLevel(logging.CRITICAL)
_talk.propagate = False
_talk.addHandler(logging.NullHandler())


class Wire:
    """One exchange's socket, as the deadline sees it; touched by the caller's thread and the timer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket | None = None
        self.expired = False
        self.connected = False
        self.written_at: float | None = None
        """When the whole request had been handed to the system, by the monotonic clock."""

    def opened(self, sock: socket) -> None:
        """The connection stands, TLS included: from here on a byte of the request may have left."""
        with self._lock:
            self._socket = sock
            self.connected = not self.expired
            if self.expired:
                sock.close()
                raise urllib3.exceptions.HTTPError("the deadline passed while connecting")

    def expire(self) -> None:
        """End the exchange, whatever it waits for."""
        with self._lock:
            self.expired = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not SSLSocket's own: that ends the encryption first, and a writer would go on in the clear.
                    socket.shutdown(self._socket, SHUT_RDWR)


def _watched(base: type[HTTPConnection], wire: Wire) -> type[HTTPConnection]:
    """A connection class that tells `wire` when it stands, and when the request has left."""

    class Watched(base):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            wire.opened(self.sock)

        def getresponse(self) -> Any:
            wire.written_at = time.monotonic()
            return super().getresponse()

    return Watched


class _OneCall(HTTPAdapter):
    """A transport for a single exchange."""

    def __init__(self, wire: Wire, tls: ssl.SSLContext | None) -> None:
        self._wire = wire
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        wire = self._wire

        class Plain(urllib3.HTTPConnectionPool):
            ConnectionCls = _watched(HTTPConnection, wire)

        class Tls(urllib3.HTTPSConnectionPool):
            ConnectionCls = _watched(HTTPSConnection, wire)  # type: ignore[assignment]  # urllib3 names a private base

        self.poolmanager.pool_classes_by_scheme = {"http": Plain, "https": Tls}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Always verify, and by what `_tls` trusts: requests would add certifi's list to what the system trusts."""
        conn.cert_reqs = "CERT_REQUIRED"


def _tls() -> ssl.SSLContext:
    """TLS 1.2 or later, with the certificates that the system trusts; where it has none, with certifi's.

    Not urllib3's context: that writes the keys of every connection to the file that SSLKEYLOGFILE names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # One handshake, before the first byte: another amid a reply is refused.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.load_default_certs()
    paths = ssl.get_default_verify_paths()  # SSL_CERT_FILE and SSL_CERT_DIR included; None where nothing is there
    if not paths.cafile and not (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


_CLOCK: Final = "Compare this machine's clock with the true time; if it is right, tell wolkvox."
_ADDRESS: Final = "Correct wolkvox.base_url or wolkvox.server, or have the proxy or name server on the way corrected."
_TRUST: Final = (
    "If a proxy of your own stands on the way, name its CA with SSL_CERT_FILE or add it to the system's certificates"
    " (package ca-certificates); if none does, somebody else answers for wolkvox: find out who."
)
_CERTIFICATES: Final = {
    9: ("is not valid yet", _CLOCK),
    10: ("has expired", _CLOCK),
    18: ("is signed by itself, and by nobody that this machine trusts", _TRUST),
    62: ("is for another host name", _ADDRESS),
    64: ("is for another IP address", _ADDRESS),
}
"""OpenSSL's codes (X509_V_ERR_*); any other is a chain that does not end at a trusted CA."""
_HANDSHAKES: Final = (
    (
        ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"),
        "offers no TLS 1.2 or later",
        "Have whatever answers there (wolkvox, or a proxy on the way) brought up to date.",
    ),
    (
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"),
        "does not speak TLS",
        "Check wolkvox.base_url, its port, and any proxy on the way.",
    ),
    (
        ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE"),
        "refused the TLS handshake; it may demand a certificate of the client",
        "syncd has none to show: have whatever answers there (wolkvox, or a proxy on the way) let it in without.",
    ),
)
"""Parts of OpenSSL's reasons, of which the names differ from version to version."""


def _tls_fault(caught: BaseException) -> str:
    """What is wrong with the other side's TLS, and what to do; ``""`` where that is not what went wrong."""
    seen: list[BaseException] = [caught]
    for each in seen:  # requests wraps what urllib3 has wrapped
        if isinstance(each, ssl.SSLCertVerificationError):
            what, remedy = _CERTIFICATES.get(each.verify_code, ("is of a CA that this machine does not trust", _TRUST))
            return f"The certificate shown for wolkvox's address {what}. {remedy}"
        if isinstance(each, ssl.SSLError):
            for names, what, remedy in _HANDSHAKES:
                if any(name in str(each.reason) for name in names):
                    return f"What answers at wolkvox's address {what}. {remedy}"
        inner = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        seen += [one for one in inner if isinstance(one, BaseException) and one not in seen]
    return ""


class _Session(requests.Session):
    """A session that looks at no redirect: requests reads its body, without a limit, even where it follows none."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Wolkvox:
    """wolkvox's API, for one operation.

    Args:
        address: base of the addresses, such as ``https://wv0042.wolkvox.com``.
        server: the operation's server, which goes into a header.
        token: the secret; it is sent in a header and written nowhere.
        timeout_secs: for a whole exchange.
    """

    def __init__(self, address: str, server: str, token: str, timeout_secs: float) -> None:
        self._base = f"{address}/api/v2"
        self._tls = _tls() if address.startswith("https:") else None
        self._headers = {
            "wolkvox-token": token,
            "wolkvox_server": server,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Connection": "close",
            "User-Agent": "syncd",
        }
        self.timeout_secs = timeout_secs

    def __repr__(self) -> str:
        return f"Wolkvox({self._base})"

    def add_record(self, campaign: Campaign, body: bytes) -> Exchange:
        """Post a JSON array of records to a campaign; once, whatever happens."""
        query = {
            "api": "add_record",
            "type_campaign": campaign.type,
            "campaign_id": campaign.id,
            "campaign_status": campaign.status,
        }
        return self._exchange("POST", "campaign.php", query, body, REPLY_LIMIT_BYTES)

    def token_info(self) -> Exchange:
        """What wolkvox has counted of the token's calls today."""
        return self._exchange("GET", "information.php", {"api": "token_info"}, None, REPLY_LIMIT_BYTES)

    def campaigns(self, campaign_id: str) -> Exchange:
        """What wolkvox says of one campaign."""
        query = {"api": "campaigns", "campaign": campaign_id}
        return self._exchange("GET", "information.php", query, None, REPLY_LIMIT_BYTES)

    def export(self, campaign_id: str) -> Exchange:
        """Every record of a campaign, dialled or not; 60,000 at most."""
        query = {"api": "campaign_15", "campaign_id": campaign_id}
        return self._exchange("GET", "campaign.php", query, None, EXPORT_LIMIT_BYTES)

    def find_record(self, campaign_id: str, customer_id: str) -> Exchange:
        """The records of one customer in a campaign."""
        query = {"api": "find_record", "campaign_id": campaign_id, "customer_phone": "", "customer_id": customer_id}
        return self._exchange("GET", "campaign.php", query, None, REPLY_LIMIT_BYTES)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        limit: int,
    ) -> Exchange:
        wire = Wire()
        began = time.monotonic()
        timer = threading.Timer(self.timeout_secs, wire.expire)
        timer.daemon = True
        timer.start()
        status: int | None = None
        received, error, fault = b"", "", ""
        try:
            with _Session() as session:
                session.trust_env = False
                adapter = _OneCall(wire, self._tls)
                session.mount("http://", adapter)
                session.mount("https://", adapter)
                with session.request(
                    method,
                    f"{self._base}/{path}",
                    params=query,
                    data=body,
                    headers=self._headers,
                    timeout=(min(CONNECT_SECS, self.timeout_secs), self.timeout_secs),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    received = _bounded(response, limit)
                    status = response.status_code
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as caught:
            error = _words(caught, wire)
            fault = "" if wire.connected else _tls_fault(caught)
        finally:
            timer.cancel()
        sent_secs = None if wire.written_at is None else wire.written_at - began
        return Exchange(wire.connected, status, received, error, time.monotonic() - began, sent_secs, fault)


class _TooLongError(ValueError):
    pass


def _bounded(response: requests.Response, limit: int) -> bytes:
    """The reply's body after decompression, up to the limit."""
    received = BytesIO()  # gives its bytes away without a second copy of them
    for chunk in response.iter_content(_CHUNK):
        received.write(chunk)
        if received.tell() > limit:
            raise _TooLongError
    return received.getvalue()


def _words(caught: Exception, wire: Wire) -> str:
    """What went wrong, without the text of the exception: that names addresses, and may quote the reply."""
    if wire.expired:
        return "no whole reply within the time" if wire.connected else "no connection within the time"
    if isinstance(caught, _TooLongError):
        return "the reply was too long"
    if not wire.connected:
        return f"no connection ({type(caught).__name__})"
    return f"the connection broke ({type(caught).__name__})"
