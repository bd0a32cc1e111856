"""What the parts that touch every reading cost, each beside a peer measured in the same run."""
