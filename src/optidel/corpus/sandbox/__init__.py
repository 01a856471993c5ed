"""Decoding in processes of its own, with limits on time and memory, so that no file can stop a run."""
