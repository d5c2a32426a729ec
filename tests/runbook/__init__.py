"""Every command of the runbook, typed as it stands there on a live system in which its section's fault was made."""
