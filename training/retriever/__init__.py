"""The settings of both networks of the retriever, and how batches of user sequences become losses."""
