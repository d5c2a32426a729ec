"""What an enactor serves over HTTP: API, metrics, events, status page."""
