"""Runs: parameters, records, locks, sealing and verification."""
