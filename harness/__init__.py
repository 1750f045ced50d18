"""Measure AI inference on every accelerator within reach; map each workload to the best one."""

__version__ = "0.1.0"
