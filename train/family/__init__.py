"""The proof: a whole family of small models, trained from synthetic eyes to measured, exported products."""
