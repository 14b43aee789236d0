"""What training reads: token shards, their order, the loader."""
