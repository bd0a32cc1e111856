"""One module an instrument: set-points in, samples out, no decisions."""
