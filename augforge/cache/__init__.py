"""What may be deleted at any time and is made again on demand."""
