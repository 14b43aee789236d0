"""The stages of a data build, from reading to token shards."""
