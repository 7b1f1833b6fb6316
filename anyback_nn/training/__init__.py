"""Training: optimisers, schedules, batches, the loop, callbacks and model files."""
