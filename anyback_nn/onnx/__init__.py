"""Models as ONNX files, which programs in other languages run without this library.

Nothing here knows a layer, a loss or an optimiser: the mathematics computes with ndonnx arrays
(`anyback_nn.backends.ndonnx`), which record its operations as a graph.
"""
