"""The evidence of docs/RESULTS.md: real data, the commands that a user would type, and the tables made of them."""
