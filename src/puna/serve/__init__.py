"""The server: OpenAI's interface and a chat page, on engines in processes of their own."""
