"""Measure AI inference on every accelerator you can reach, and map each workload to the best one."""

__version__ = "0.1.0"
