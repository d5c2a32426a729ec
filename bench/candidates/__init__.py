"""What is compared: enactord, and what one would use instead."""
