"""Every kind of stored thing, spoilt in every way, with enactors at work."""
