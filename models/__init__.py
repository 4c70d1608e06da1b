"""The dual encoder: export, model store, preprocessing, tokenising, ONNX inference, training, evaluation."""
