"""Ways in which data sets are arranged in folders; one file each."""
