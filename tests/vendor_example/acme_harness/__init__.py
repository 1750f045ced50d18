"""Acme's support for the harness."""
