"""One fleet for all workloads of a brief: a mixed-integer program, its bound, a checked plan."""
