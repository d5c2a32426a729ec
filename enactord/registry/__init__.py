"""Plans, claims, fences and ledger, written once, above the key-value port."""
