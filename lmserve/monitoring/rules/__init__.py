"""Recording and alerting rules of Prometheus: written here, kept as YAML beside this code.

python -m lmserve.monitoring.rules      writes the YAML anew
"""
