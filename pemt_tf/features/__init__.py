"""The one copy of the feature code: used by Beam, by tf.data and inside the exported graph."""
