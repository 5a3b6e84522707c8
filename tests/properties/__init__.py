"""What holds for anything that could come, found by machines."""
