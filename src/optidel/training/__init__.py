"""Loops that change weights: pre-training and fine-tuning. They take arrays and know no folders but their
checkpoint.
"""
