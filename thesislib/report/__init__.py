"""Ours beside the published: ledger, claims and tables, on the standard library."""
