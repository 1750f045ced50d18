"""Hand-written loops over the same ONNX file or torch module that an adapter runs.

They use the runtime's own calls and nothing of the harness but the model's files, so that they show
what the harness adds. `python -m tests.benchmarks.native_parity` runs them side by side with it.
"""

import time

import numpy as np


def time_of_each(requests, answer):
    """Return the seconds that `answer` takes for each of `requests`."""
    spent = []
    for request in requests:
        start = time.perf_counter_ns()
        answer(request)
        spent.append((time.perf_counter_ns() - start) / 1e9)
    return spent


def onnxruntime_session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def fraud_onnxruntime(model, threads):
    session = onnxruntime_session(model.onnx("standard") / "model.onnx", threads)

    def answer(request):
        scores = session.run(["score"], {"features": request.features.reshape(1, -1)})[0]
        return float(scores[0])

    return answer


def fraud_openvino(model, threads):
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(str(model.onnx("portable") / "model.onnx"), "CPU", settings)
    infer = compiled.create_infer_request()

    def answer(request):
        row = np.ascontiguousarray(request.features.reshape(1, -1))
        infer.set_input_tensor(openvino.Tensor(row, shared_memory=True))
        infer.infer()
        return float(infer.get_output_tensor(0).data[0])

    return answer


def fraud_torch(model, threads):
    import torch

    from harness.models.trees_mlp import torch_module

    torch.set_num_threads(threads)
    module = torch_module(model.weights()).eval()

    def answer(request):
        with torch.inference_mode():
            return float(module(torch.from_numpy(request.features.reshape(1, -1)))[0])

    return answer


def chat_onnxruntime(model, threads):
    import onnxruntime

    session = onnxruntime_session(model.onnx("standard") / "model.onnx", threads)
    past_names = [i.name for i in session.get_inputs() if i.name.startswith("past_")]
    out_names = ["logits", *(name.replace("past_", "present_") for name in past_names)]
    shape = model.architecture
    empty = np.zeros((1, shape.kv_heads, 0, shape.hidden // shape.heads), dtype=np.float32)
    value = onnxruntime.OrtValue.ortvalue_from_numpy

    def answer(request):
        tokens, past, out = request.prompt, [value(empty)] * len(past_names), []
        for _ in range(request.max_new_tokens):
            feeds = dict(zip(past_names, past, strict=True))
            feeds["input_ids"] = value(tokens[None])
            feeds["logits_from"] = value(np.array([len(tokens) - 1], dtype=np.int64))
            feeds["padding"] = value(np.zeros(1, dtype=np.int64))
            logits, *past = session.run_with_ort_values(out_names, feeds)
            out.append(int(np.argmax(logits.numpy()[0, -1])))
            tokens = np.array(out[-1:], dtype=np.int64)
        return out

    return answer


def chat_torch(model, threads):
    import torch

    from harness.models.llama_torch import from_weights

    torch.set_num_threads(threads)
    module = from_weights(model.weights(), model.architecture).eval()

    def answer(request):
        with torch.inference_mode():
            cache, tokens, out = module.make_cache(), torch.from_numpy(request.prompt)[None], []
            for _ in range(request.max_new_tokens):
                logits = module(tokens, cache, wanted=1)
                out.append(int(logits[0, -1].argmax()))
                tokens = torch.tensor([out[-1:]])
            return out

    return answer


def speech_onnxruntime(model, threads):
    import onnxruntime

    folder = model.onnx("standard")
    encoder = onnxruntime_session(folder / "encoder.onnx", threads)
    decoder = onnxruntime_session(folder / "decoder.onnx", threads)
    past_names = [i.name for i in decoder.get_inputs() if i.name.startswith("past_")]
    cross_names = [o.name for o in encoder.get_outputs()]
    out_names = ["logits", *(name.replace("past_", "present_") for name in past_names)]
    shape = model.architecture
    empty = np.zeros((1, shape.heads, 0, shape.hidden // shape.heads), dtype=np.float32)
    value = onnxruntime.OrtValue.ortvalue_from_numpy

    def answer(request):
        features = {"features": value(request.features[None])}
        cross = encoder.run_with_ort_values(cross_names, features)
        tokens, past, out = request.prefix, [value(empty)] * len(past_names), []
        for _ in range(request.max_new_tokens):
            feeds = dict(zip(past_names + cross_names, past + list(cross), strict=True))
            feeds["input_ids"] = value(tokens[None])
            feeds["logits_from"] = value(np.array([len(tokens) - 1], dtype=np.int64))
            logits, *past = decoder.run_with_ort_values(out_names, feeds)
            out.append(int(np.argmax(logits.numpy()[0, -1])))
            tokens = np.array(out[-1:], dtype=np.int64)
        return out

    return answer


LOOPS = {
    ("fraud-detection", "cpu-onnxruntime"): fraud_onnxruntime,
    ("fraud-detection", "cpu-openvino"): fraud_openvino,
    ("fraud-detection", "cpu-torch"): fraud_torch,
    ("llm-chat", "cpu-onnxruntime"): chat_onnxruntime,
    ("llm-chat", "cpu-torch"): chat_torch,
    ("speech-to-text", "cpu-onnxruntime"): speech_onnxruntime,
}
