"""The one copy of the feature code: used by Beam, by tf.data and inside the exported graph.

`decode` (media file to JPEGs and waveform) needs PyAV and NumPy only; `video` and `audio` need TensorFlow.
"""
