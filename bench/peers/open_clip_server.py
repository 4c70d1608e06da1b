"""What people write first: OpenCLIP in a handler. `open_clip_server.py CHECKPOINT PORT`, by a Python that has both."""

import io
import sys

import open_clip
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

app = FastAPI()
model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=sys.argv[1])
tokenizer = open_clip.get_tokenizer("ViT-B-32")
model.eval()


@app.get("/health")
def health() -> str:
    return "ready"


@app.post("/text")
async def embed_text(texts: list[str]) -> list[list[float]]:
    with torch.no_grad():
        return model.encode_text(tokenizer(texts), normalize=True).tolist()


@app.post("/image")
async def embed_image(image: UploadFile) -> list[list[float]]:
    picture = Image.open(io.BytesIO(await image.read()))
    with torch.no_grad():
        return model.encode_image(preprocess(picture).unsqueeze(0), normalize=True).tolist()


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
