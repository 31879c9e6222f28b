"""The retriever: a Transformer that generates the next item's semantic ID."""
