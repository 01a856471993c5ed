"""Archives read in place: zip, tar, WebDataset, and the shards of Hugging Face datasets; nothing is unpacked
to disk.
"""
