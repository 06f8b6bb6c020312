"""Every error that syncd raises on purpose, in one tree.

    SyncdError
    ├── ConfigError          the configuration file, or a secret that it names
    ├── CrmError
    │   ├── CrmUnavailable   the CRM's database does not answer; it may later
    │   └── CrmFault         a table, column, privilege or condition is not as configured
    ├── LedgerError
    │   ├── LedgerUnavailable   the ledger does not answer, or its disk is full
    │   ├── LedgerSchemaError   the ledger's tables are not the ones this version expects
    │   │   └── LedgerEmpty     there are none yet
    │   └── SenderDeposed       another syncd has become the sender of this ledger
    ├── QuotaSpent           the day's budget of calls is used up
    ├── UnknownName          a sync, lead or call that the user named does not exist
    └── EnvironmentFault     the machine: a port in use, a missing program or permission

An error says what failed, what to do about it, and whether trying again may help. Its text never
holds a secret or a value from a lead: texts of third-party exceptions, which do, stop at the module
that catches them.
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""sysexits(3) EX_CONFIG: systemd shows it as such, and the unit does not restart upon it."""


class SyncdError(Exception):
    """The base of all of them.

    Args:
        message: what failed, as one sentence for the operator.
        remedy: what to do about it, as one sentence; may be empty.
        retry: whether doing the same again later may succeed without anybody's help.
    """

    exit_status = EXIT_FAILED

    def __init__(self, message: str, remedy: str = "", *, retry: bool = False) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy
        self.retry = retry

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class ConfigError(SyncdError):
    """One or more faults of the configuration, all of them at once.

    Args:
        problems: a sentence for each; names file, key, value and rule.
    """

    exit_status = EXIT_CONFIG

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class CrmError(SyncdError):
    """Something between syncd and the CRM's database."""


class CrmUnavailable(CrmError):
    """The CRM's database cannot be reached, or gave up in the middle."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy, retry=True)


class CrmFault(CrmError):
    """The CRM's schema, privileges or the operator's SQL: stops the sync that it concerns."""


class CrmUndecodable(CrmFault):
    """A row holds bytes that are no text in the database's encoding, which SQL_ASCII allows: the others can be read."""


class CaptureLost(CrmFault):
    """Changes cannot be followed any more, though the table is fine: what watches it is gone. The sweep goes on."""


class LedgerError(SyncdError):
    """Something between syncd and its ledger."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be reached or written now."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy, retry=True)


class LedgerSchemaError(LedgerError):
    """The ledger was made by another version of syncd, or is not a ledger at all."""

    exit_status = EXIT_CONFIG


class LedgerEmpty(LedgerSchemaError):
    """The ledger's database is there, and has no tables yet."""


class SenderDeposed(LedgerError):
    """Another process holds the lease of this ledger with a later term; nothing more may be sent."""


class QuotaSpent(SyncdError):
    """No call is left in the budget of this quota day."""


class UnknownName(SyncdError):
    """The user named a sync, a lead or a call that is not there."""


class EnvironmentFault(SyncdError):
    """The machine lacks something: a port, a program, a permission, space."""
