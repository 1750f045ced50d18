"""The workloads' models: built from configuration or loaded from small trained weights."""
