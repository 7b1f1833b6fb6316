"""What users pass becomes batches on the backend's device, checked once."""
