"""`report.html` of a data set."""
