"""The window: the only package that knows napari and Qt; it never loads torch."""
