"""The commands of `pemt`, one module each: what they are called, their flags, and one function that runs them."""
