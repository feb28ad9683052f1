"""A custom inference runtime (MLServer: "Writing a custom runtime", "Parallel inference", "Adaptive batching")."""

import json

from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from model import load_model


class ImageClassifier(MLModel):
    async def load(self) -> bool:
        self._model = load_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answers = self._model.predict(Base64Codec.decode_input(payload.inputs[0]))
        labels = StringCodec.encode_output("labels", [json.dumps(answer) for answer in answers])
        return InferenceResponse(model_name=self.name, outputs=[labels])
