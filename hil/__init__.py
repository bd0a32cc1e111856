"""Hardware in the loop: the simulated cell, the instruments around it, and the rig that joins them."""
