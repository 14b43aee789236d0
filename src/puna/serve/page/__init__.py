"""The files of the chat page, as browsers read them: no build makes them, and none of them loads another's."""
