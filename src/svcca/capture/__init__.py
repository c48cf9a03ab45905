"""Models and data to rows: which layers, what they put out, and what counts as a sample. No decomposition."""
