"""GPT-2 in NumPy alone, every gradient written by hand, fine-tuned into a text classifier."""

__version__ = "0.1.0"
