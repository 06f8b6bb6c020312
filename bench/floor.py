"""The floor: what the machine needs to get the same bodies out of the same database and into the same sink.

`psql` runs a query whose single value is the body, `curl` posts it; a pair for each body, one after the other. It keeps
no ledger, checks nothing and may not be interrupted. Where one of the programs is missing, a plain Python loop takes
their place, and the report says so.
"""

from __future__ import annotations

import http.client
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg

from bench.errors import BenchFailed
from bench.leads import body_query
from bench.stage import TOKEN, environment
from syncd.embedded import wheel_bindir

BATCH = 10_000
"""Records of a call: the most that wolkvox takes, for both sides."""
HEADERS = (f"wolkvox-token: {TOKEN}", "wolkvox_server: 0042", "Content-Type: application/json")


def calls_for(leads: int) -> int:
    """Calls that so many leads need."""
    return -(-leads // BATCH)


@dataclass(frozen=True, slots=True)
class Floor:
    """How the floor is run here."""

    psql: str | None
    curl: str | None
    words: str
    """What it is, for the report."""

    @property
    def is_fallback(self) -> bool:
        """Whether the two programs are not both here."""
        return self.psql is None or self.curl is None

    def start(self, crm: str, address: str, leads: int) -> subprocess.Popen[bytes]:
        """Begin to send all leads of a database, in the order of their ids.

        Args:
            crm: the URL of the database.
            address: that of the call.
        """
        queries = [body_query(after, min(after + BATCH, leads)) for after in range(0, leads, BATCH)]
        if self.psql is None or self.curl is None:
            command = [sys.executable, "-m", "bench.floor", crm, address, *queries]
        else:
            command = ["sh", "-c", _script(self.psql, self.curl, crm, address, queries)]
        return subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def choose_floor() -> Floor:
    """Find the programs: psql of the server itself before the one in PATH, which may be a wrapper that is slow to
    start, and would flatter syncd."""
    beside = wheel_bindir() / "psql"
    psql = str(beside) if beside.is_file() else shutil.which("psql")
    curl = shutil.which("curl")
    if psql is None or curl is None:
        missing = " and ".join(name for name, path in (("psql", psql), ("curl", curl)) if path is None)
        return Floor(psql, curl, f"{missing} is not installed: a plain Python loop (psycopg, http.client) instead")
    versions = (_version(psql), _version(curl))
    return Floor(psql, curl, f'psql -c "SELECT json_agg(...)" | curl ({versions[0]}; {versions[1]})')


def _script(psql: str, curl: str, crm: str, address: str, queries: Sequence[str]) -> str:
    # Without "Expect:", curl would wait to be asked for the body.
    headers = [word for header in (*HEADERS, "Expect:") for word in ("-H", header)]
    post = shlex.join([curl, "-sS", "--fail", "--noproxy", "*", "--data-binary", "@-", *headers, address])
    return "\n".join(["set -e", *(f"{shlex.join([psql, '-XqAt', '-c', query, crm])} | {post}" for query in queries)])


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], env=environment(), capture_output=True, text=True, check=True)
    return " ".join(said.stdout.splitlines()[0].split("(Debian")[0].split()[:3])


def wait(process: subprocess.Popen[bytes]) -> None:
    """See the floor end well.

    Raises:
        BenchFailed: it did not.
    """
    status = process.wait(60)
    if status != 0:
        raise BenchFailed(f"The floor ended with status {status}.")


def _plain_loop(crm: str, address: str, queries: Sequence[str]) -> None:
    url = urlsplit(address)
    headers = dict(header.split(": ", 1) for header in HEADERS)
    with psycopg.connect(crm, autocommit=True) as connection:
        for query in queries:
            row = connection.execute(f"SELECT body::text FROM ({query}) AS made (body)".encode()).fetchone()
            assert row is not None
            line = http.client.HTTPConnection(url.netloc, timeout=60)
            line.request("POST", f"{url.path}?{url.query}", str(row[0]).encode(), headers)
            reply = line.getresponse()
            reply.read()
            line.close()
            if reply.status != 201:
                sys.exit(f"status {reply.status}")


if __name__ == "__main__":
    _plain_loop(sys.argv[1], sys.argv[2], sys.argv[3:])
