"""MLServer's runtime for one ONNX file: rows in, scores out. Copied beside the model, run there."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class FraudRuntime(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self._source = self._session.get_inputs()[0].name
        return True

    async def predict(self, payload):
        (tensor,) = payload.inputs
        rows = NumpyCodec.decode_input(tensor).astype(np.float32, copy=False)
        (scores,) = self._session.run(None, {self._source: rows})
        output = NumpyCodec.encode_output("score", np.asarray(scores))
        return InferenceResponse(model_name=self.name, outputs=[output])
