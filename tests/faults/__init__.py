"""What can go wrong between a client and its store: `store` wraps any store, `proxy` stands before a real one."""
