"""Measurements, side by side with the named peer in one run. Nothing here is a test."""
