"""What is measured, a module a question."""
