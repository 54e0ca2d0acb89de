"""One class activation method a file."""
