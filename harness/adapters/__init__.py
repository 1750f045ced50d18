"""Runtimes behind one contract: see `harness.adapters.base`."""
