"""The tutorial's app: upload a picture, read the labels (Flask quickstart, "File Uploads")."""

from flask import Flask, Response, jsonify, request
from model import load_model

app = Flask(__name__)
model = load_model()


@app.route("/predict", methods=["POST"])
def predict() -> Response:
    return jsonify(model.predict([request.files["file"].read()])[0])
