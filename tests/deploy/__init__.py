"""What ships under deploy/, and the enactor's dealings with what runs it."""
