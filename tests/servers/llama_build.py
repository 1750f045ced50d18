"""Compiles llama.cpp's own programs from the source that llama-cpp-python ships.

cmake and a C++ compiler must be there. `llama-server` takes most of an hour on 2 cores;
`llama-bench` takes minutes, on the libraries of the installed llama-cpp-python.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.environments import WHOLE, NotInstalled, cache_folder, locked, run

LLAMA_CPP_PYTHON = "0.3.36"
PROGRAMS = ("llama-bench", "llama-server")
BUILD_S = 3 * 3600.0


def llama_program(name, *, install=False):
    """Return one of `PROGRAMS`, built with `install`; NotInstalled if it is not there."""
    folder = cache_folder() / f"{name}-{LLAMA_CPP_PYTHON}"
    if not (folder / WHOLE).is_file():
        if not install:
            command = f"python -m tests.servers.install {name}"
            raise NotInstalled(f"{name} is not built; run: {command}")
        with locked(folder):
            if not (folder / WHOLE).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                _build(name, folder)
                (folder / WHOLE).touch()
    return folder / "bin" / name


def _build(name, folder):
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
        given = _bench(source) if name == "llama-bench" else _server(source)
        run([cmake, "-B", build, "-DCMAKE_BUILD_TYPE=Release", *given], timeout_s=BUILD_S)
        wanted = ["--target", name, "--parallel", str(os.cpu_count() or 1)]
        run([cmake, "--build", build, *wanted], timeout_s=BUILD_S)
        (folder / "bin").mkdir(parents=True)
        (made,) = [each for each in (build / name, build / "bin" / name) if each.is_file()]
        shutil.copy(made, folder / "bin" / name)


def _server(source):
    plain = ["-DLLAMA_CURL=OFF", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF"]
    return ["-S", source, *plain]


def _bench(source):
    found = importlib.util.find_spec("llama_cpp")
    if found is None or found.origin is None:
        raise NotInstalled(f"llama-bench needs pip install llama-cpp-python=={LLAMA_CPP_PYTHON}")
    libraries = Path(found.origin).parent / "lib"
    # What is measured is in the libraries: the program around them need not be fast.
    quick = ["-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG", f"-DCMAKE_BUILD_RPATH={libraries}"]
    here = Path(__file__).parent / "llama_bench"
    return ["-S", here, f"-DSOURCE={source}", f"-DLIBRARIES={libraries}", *quick]
