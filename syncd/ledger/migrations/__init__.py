"""Numbered migrations of the ledger, applied by `syncd.ledger.migration`."""
