"""A decision and its records as one HTML file for the people who sign the purchase order."""

from __future__ import annotations

from harness.report.page import render
from harness.report.pinned import pinned_records

__all__ = ["pinned_records", "render"]
