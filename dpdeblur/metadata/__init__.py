"""What a photo says of itself, carried as raw entries, and the note that a result carries."""
