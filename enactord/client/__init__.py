"""A client of an enactor's HTTP."""
