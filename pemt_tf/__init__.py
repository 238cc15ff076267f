"""Parameter-efficient multimodal Transformers for video (Lee et al., ICLR 2021) in TensorFlow and Keras 3.

Importing this package imports nothing heavy: decoding workers and `pemt --help` stay fast.
"""

__version__ = "0.1.0"
