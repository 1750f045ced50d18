"""MLServer with the project's own fraud model behind the Open Inference Protocol."""

import json
import shutil
from pathlib import Path

from tests.servers.environments import environment
from tests.servers.process import refused_port
from tests.servers.running import Running, program

RUNTIME = Path(__file__).with_name("fraud_runtime.py")


def fraud_mlserver(onnx, features, work):
    """Return the server of the file `onnx`, which takes rows of `features` numbers.

    `work` is an empty folder of its own. `urls` of the server are by protocol.
    """
    folder = environment("mlserver")
    port, grpc_port = refused_port(), refused_port()
    model = work / "fraud"
    model.mkdir()
    shutil.copy(RUNTIME, model)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_endpoint": None,
        "parallel_workers": 0,
    }
    (work / "settings.json").write_text(json.dumps(settings))
    declared = {
        "name": "fraud",
        "implementation": "fraud_runtime.FraudRuntime",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, features]}],
        "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1]}],
        "parameters": {"uri": str(onnx)},
    }
    (model / "model-settings.json").write_text(json.dumps(declared))
    address = f"http://127.0.0.1:{port}"
    server = Running(
        [program(folder, "mlserver"), "start", work],
        url=address,
        ready_url=f"{address}/v2/health/ready",
        log=work / "mlserver.log",
        environment={"PYTHONPATH": str(model)},
        cwd=work,
    )
    server.urls = {"oip-http": address, "oip-grpc": f"http://127.0.0.1:{grpc_port}"}
    return server
