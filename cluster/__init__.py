"""Spreading lmserve's work with Ray: sessions, counting actors, builds, the serving deployment."""
