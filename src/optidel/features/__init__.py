"""What a corpus looks like to a method: embeddings, clusters, difficulty, key patches."""
