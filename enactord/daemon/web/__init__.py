"""What an enactor shows and takes over HTTP: problems, limits, reading, writing, the events stream, the page."""
