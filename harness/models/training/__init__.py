"""Makes the trained models of `workloads/weights` again; nothing in a measurement imports it."""
