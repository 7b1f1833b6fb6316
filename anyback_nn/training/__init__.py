"""Training: the engine, the steps, the loop, callbacks, metrics and model files."""
