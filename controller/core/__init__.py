"""One pure step: estimate, decide, execute the protocol."""
