"""Transcripts -> training rows: rules say who deserves credit for what, the compiler applies them and counts."""
