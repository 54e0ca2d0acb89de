"""One file a panel of the workbench, in the order of the work."""
