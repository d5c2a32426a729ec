"""Plan stores: keys and values with transactions, by etcd, SQLite or memory."""
