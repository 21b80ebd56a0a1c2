"""In-context learning without the context: extract a vector, calibrate how it is injected, predict with it."""
