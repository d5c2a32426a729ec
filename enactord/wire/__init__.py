"""DNS messages packed and read by hand, and the connection that carries them."""
