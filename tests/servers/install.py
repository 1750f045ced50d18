"""Installs real servers for the tests: `python -m tests.servers.install NAME...`.

Those of `requirements/` take seconds to minutes. `llama-server` is compiled from the source that
llama-cpp-python ships: cmake and a C++ compiler must be there; it takes most of an hour on 2 cores.
"""

import os
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.environments import (
    REQUIREMENTS,
    WHOLE,
    NotInstalled,
    cache_folder,
    environment,
    locked,
    run,
)

LLAMA_CPP_PYTHON = "0.3.36"
LLAMA_SERVER = "llama-server"
BUILD_S = 3 * 3600.0


def llama_server(*, install=False):
    """Return llama.cpp's server, built with `install`; NotInstalled if it is not there."""
    folder = cache_folder() / f"{LLAMA_SERVER}-{LLAMA_CPP_PYTHON}"
    if not (folder / WHOLE).is_file():
        if not install:
            command = f"python -m tests.servers.install {LLAMA_SERVER}"
            raise NotInstalled(f"{LLAMA_SERVER} is not built; run: {command}")
        with locked(folder):
            if not (folder / WHOLE).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                _build(folder)
                (folder / WHOLE).touch()
    return folder / "bin" / LLAMA_SERVER


def _build(folder):
    scripts = Path(sysconfig.get_path("scripts"))
    path = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    cmake = shutil.which("cmake", path=path)
    if cmake is None:
        raise NotInstalled("cmake is missing; run: pip install cmake ninja")
    with TemporaryDirectory() as place:
        package = f"llama-cpp-python=={LLAMA_CPP_PYTHON}"
        options = ["--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", place]
        # `pip download` asks the source for its name and version, which needs no compiler.
        run([sys.executable, "-m", "pip", "download", *options, package])
        (archive,) = Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(place, filter="data")
        (source,) = Path(place).glob("*/vendor/llama.cpp")
        build = Path(place) / "build"
        plain = ["-DLLAMA_CURL=OFF", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF"]
        configure = [cmake, "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release", *plain]
        run(configure, timeout_s=BUILD_S)
        wanted = ["--target", LLAMA_SERVER, "--parallel", str(os.cpu_count() or 1)]
        run([cmake, "--build", build, *wanted], timeout_s=BUILD_S)
        (folder / "bin").mkdir(parents=True)
        shutil.copy(build / "bin" / LLAMA_SERVER, folder / "bin" / LLAMA_SERVER)


def main(names):
    known = [*sorted(path.stem for path in REQUIREMENTS.glob("*.txt")), LLAMA_SERVER]
    if not names or not set(names) <= set(known):
        print(f"usage: python -m tests.servers.install NAME...; names: {', '.join(known)}")
        return 2
    for name in names:
        print(f"{name}: installing", flush=True)
        try:
            made = llama_server(install=True) if name == LLAMA_SERVER else environment(name)
        except NotInstalled as error:
            print(f"{name}: {error}")
            return 1
        print(f"{name}: {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
