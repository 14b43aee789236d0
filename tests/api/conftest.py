"""A small model that chats."""

from serving import chat_model

__all__ = ["chat_model"]
