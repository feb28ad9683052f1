"""A plain function as endpoint, which FastAPI runs in its thread pool (FastAPI tutorial, "Request Files")."""

from typing import Annotated

from fastapi import FastAPI, File
from model import load_model

app = FastAPI()
model = load_model()


@app.post("/predict")
def predict(file: Annotated[bytes, File()]) -> list[dict[str, object]]:
    return model.predict([file])[0]
