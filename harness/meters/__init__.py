"""Sources of energy readings behind one contract: see `harness.meters.base`."""
