"""A LitAPI whose four steps are the documented ones (LitServe: "Anatomy of a LitServe API", "File uploads")."""

import argparse
import os

import litserve as ls
from model import load_model


class ImageClassifier(ls.LitAPI):
    def setup(self, device):
        self.model = load_model(device)

    def decode_request(self, request):
        return request["request"].file.read()

    def predict(self, picture):
        return self.model.predict([picture])[0]

    def encode_response(self, output):
        return output


class BatchedImageClassifier(ImageClassifier):
    def predict(self, pictures):
        return self.model.predict(pictures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.batch > 1:
        api = BatchedImageClassifier(max_batch_size=arguments.batch, batch_timeout=0.01)
    else:
        api = ImageClassifier()
    server = ls.LitServer(api, accelerator=os.environ["DEVICE"], devices=1, workers_per_device=arguments.workers)
    server.run(host="127.0.0.1", port=arguments.port, generate_client_file=False)
