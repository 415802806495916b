"""Text in: finding, decompressing and splitting input, and cutting it into words."""
