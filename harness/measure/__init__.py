"""Measures one cell: `python -m harness.measure.cell` runs in a process of its own."""
