"""Who may do what: keys, scopes, hosts and origins, limits per key, the audit log."""
