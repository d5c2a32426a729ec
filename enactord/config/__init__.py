"""The config file: its tables and keys, read and checked."""
