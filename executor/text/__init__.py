"""Text and token ids: tokenizers, and text that appears token by token. Imports no torch and no transformers."""
