"""From the files of all sources to cleaned documents and token shards: stages of independent tasks."""
