"""Items that training did not know, and how they get codes and vectors."""
