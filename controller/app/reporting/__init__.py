"""The report of a run: facts from the journal, charts as inline SVG, one self-contained page."""
