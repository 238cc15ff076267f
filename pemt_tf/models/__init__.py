"""The two CNNs, the audio-visual Transformer, its heads, and the model that pretraining trains."""
