"""Keras layers in pure `keras.ops`; the paper's idea is in `low_rank_shared_dense`."""
