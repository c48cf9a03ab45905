"""What comparing lets one do to a network: freeze what has converged."""
