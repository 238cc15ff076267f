"""Pretraining and fine-tuning: task, loop and step, and their parts."""
