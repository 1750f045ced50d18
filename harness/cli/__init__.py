"""The command line. One module for each command, imported only when that command is asked for.

The group itself is in a module of its own: here, the modules `list` and `map` hide the functions.
"""

from __future__ import annotations

from harness.cli.group import main

__all__ = ["main"]
