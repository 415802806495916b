"""What Prometheus learns of lmserve: declared once, counted in every process, read at one place."""
