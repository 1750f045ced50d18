"""Serves one ONNX file by Triton's Python backend until it is ended. Runs in its environment.

Arguments: the file, its number of features, the ports for HTTP, gRPC and metrics.
"""

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(file, features, http_port, grpc_port, metrics_port):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name

    @batch
    def infer(features):
        (scores,) = session.run(None, {source: features})
        return {"score": np.asarray(scores, dtype=np.float32).reshape(-1, 1)}

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http_port,
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        exit_timeout_secs=3,
    )
    with Triton(config=config) as triton:
        triton.bind(
            "fraud",
            infer,
            inputs=[Tensor(name="features", dtype=np.float32, shape=(features,))],
            outputs=[Tensor(name="score", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
