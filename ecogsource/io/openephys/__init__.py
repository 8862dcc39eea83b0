"""Open Ephys recordings: the binary format and the older one of .continuous files."""
