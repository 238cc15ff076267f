"""The objectives of pretraining, as functions of tensors and masks."""
