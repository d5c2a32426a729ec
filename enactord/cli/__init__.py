"""The command lines: thin, one file a verb; what they do lives beneath."""
