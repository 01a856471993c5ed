"""Networks: masked autoencoder, SimCLR, encoders, segmenter, mask generators. They know neither corpora nor
runs.
"""
