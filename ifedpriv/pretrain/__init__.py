"""Trains the embedded model from scratch: tokenizer, corpus, two stages, one command."""
