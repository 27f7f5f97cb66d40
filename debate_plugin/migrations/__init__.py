"""The store's schema, revision by revision; a new revision is a file in `versions/`, and `HEAD` in `store.py`."""
