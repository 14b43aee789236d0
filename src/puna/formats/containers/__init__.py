"""Files that several formats keep tensors and settings in."""
