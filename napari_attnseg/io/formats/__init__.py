"""File formats, one module each; a format is added by adding its module."""
