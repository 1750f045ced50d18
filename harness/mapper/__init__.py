"""Records and a brief to a decision: feasibility, capacity, cost, choice. Never runs anything."""

from harness.mapper.decide import PinnedRecord, decide

__all__ = ["PinnedRecord", "decide"]
