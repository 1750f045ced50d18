"""Targets on the reference server, for the tests of served targets."""

from typing import Any

from harness.schema import Target
from tests.factories import make_target


def make_served(url: str, name: str = "served", **server: Any) -> Target:
    """Return a target that is reached at `url`."""
    tree = {"url": url, "protocol": "openai-chat", "model": "reference", **server}
    return make_target(name, runtime={"adapter": "http", "device": "remote"}, server=tree)
