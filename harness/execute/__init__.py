"""Runs a plan: one process per cell, a ledger to resume from."""
