"""SentencePiece BPE: training, encoding, and its equal in other forms."""
