"""Labelled sets, scores of predicted masks and the intervals around them."""
