"""The records that stages leave for each other, field by field; without torch."""
