"""Image files: finding them, their size from the header, decoding and encoding."""
