"""Events to log lines and metrics: observers of the engine, which knows of neither."""
