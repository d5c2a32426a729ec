"""One file per outside thing: each the only importer of its library."""
