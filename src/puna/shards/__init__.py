"""The data that training reads: token shards, their order, the loader."""
