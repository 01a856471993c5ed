"""Which images are copies of which: hashes, transformed pixels, neighbours of embeddings, sets that share
images.
"""
