"""What operators do to a scope; used by the command line, HTTP and `enactord dev` alike."""
