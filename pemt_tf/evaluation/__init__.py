"""What is measured: classification, probes of frozen features, retrieval; and search among embeddings."""
