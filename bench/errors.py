"""What ends a bench: a run whose figures would mean nothing."""

from __future__ import annotations


class BenchFailed(Exception):
    """A run went wrong, or did not verify; the message is a sentence that says how."""
