"""Triton with the project's own fraud model in its Python backend, through nvidia-pytriton."""

import os
import sys
from pathlib import Path

from tests.servers.environments import environment
from tests.servers.process import refused_port
from tests.servers.running import Running, program

PROGRAM = Path(__file__).with_name("triton_program.py")


def fraud_triton(onnx, features, work):
    """Return the server of the file `onnx`; `urls` are by protocol.

    Raises NotInstalled unless `python -m tests.servers.install triton` was run.
    """
    folder = environment("triton", install=False)
    port, grpc_port, metrics_port = (refused_port() for _ in range(3))
    address = f"http://127.0.0.1:{port}"
    # The backend's stub must load the library of the Python that runs, not the system's.
    libraries = os.pathsep.join(
        filter(None, [f"{sys.base_prefix}/lib", os.environ.get("LD_LIBRARY_PATH")])
    )
    # Beside its own program lie modules that are named like packages of its environment.
    command = [program(folder, "python"), "-P", PROGRAM, onnx, features]
    server = Running(
        [*command, port, grpc_port, metrics_port],
        url=address,
        ready_url=f"{address}/v2/models/fraud/ready",
        log=work / "triton.log",
        environment={"LD_LIBRARY_PATH": libraries},
        cwd=work,
    )
    server.urls = {"oip-http": address, "oip-grpc": f"http://127.0.0.1:{grpc_port}"}
    return server
