"""Jobs in Redis or Valkey: one script a writing verb, plain reads, a one-token list that wakes idle workers."""
