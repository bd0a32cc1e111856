"""Emulated instruments at the byte stream: SCPI source-measure unit, auxiliary thermometer."""
