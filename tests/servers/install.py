"""Installs real servers and tools for the tests: `python -m tests.servers.install NAME...`.

Those of `requirements/` take seconds to minutes; llama.cpp's own programs are compiled
(tests/servers/llama_build.py).
"""

import sys

from tests.servers.environments import REQUIREMENTS, NotInstalled, environment
from tests.servers.llama_build import PROGRAMS, llama_program


def main(names):
    known = [*sorted(path.stem for path in REQUIREMENTS.glob("*.txt")), *PROGRAMS]
    if not names or not set(names) <= set(known):
        print(f"usage: python -m tests.servers.install NAME...; names: {', '.join(known)}")
        return 2
    for name in names:
        print(f"{name}: installing", flush=True)
        try:
            made = llama_program(name, install=True) if name in PROGRAMS else environment(name)
        except NotInstalled as error:
            print(f"{name}: {error}")
            return 1
        print(f"{name}: {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
