"""The data card: its facts, its pages and its warnings."""
