"""What is kept in the plan store, above the key-value port."""
