"""Measures what stands behind a server: a client core, the protocols, and the adapter `http`."""
