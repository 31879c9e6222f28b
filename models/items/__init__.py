"""Items that training did not know: how they get codes and vectors."""
