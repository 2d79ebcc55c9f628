"""Several runs trained as one network."""
