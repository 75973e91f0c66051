"""What people said, from the files their tools export."""
