"""From a folder of files to frames: decoding, the index, quality, pixels at the model's size."""
