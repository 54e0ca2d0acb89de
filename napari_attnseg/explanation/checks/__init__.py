"""One measure of a map a file."""
