"""Records and what training reads of them: their bytes, their parser, the card of a data set, the input pipeline."""
