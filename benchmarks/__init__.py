"""Side-by-side measurements of ecogsource and its peers, on the same files, in one run."""
