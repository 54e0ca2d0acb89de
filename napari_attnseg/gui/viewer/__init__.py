"""What stands in napari's viewer: our layers, the planes, letters, and the status line."""
