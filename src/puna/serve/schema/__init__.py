"""What requests and answers hold, as their sources name it."""
