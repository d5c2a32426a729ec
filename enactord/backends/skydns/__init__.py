"""Records as keys of etcd, which CoreDNS serves."""
