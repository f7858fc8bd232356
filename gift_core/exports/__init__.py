"""A Clip in the formats of other libraries: transformers, ONNX, one safetensors file."""
