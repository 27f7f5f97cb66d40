"""The top floor: whole runs over the parts below, each a flat file that can be read beside its paper."""
