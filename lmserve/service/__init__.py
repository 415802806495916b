"""The scoring service: routes, streaming, cache and metrics around any `Scorer`. Free of Ray."""
