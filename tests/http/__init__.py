"""HTTP of a real enactor on a real port: routes, limits, events, TLS, and the document that describes them."""
