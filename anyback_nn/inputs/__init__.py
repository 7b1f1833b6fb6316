"""Inputs of training and prediction: checked once, and cut into batches on the device."""
