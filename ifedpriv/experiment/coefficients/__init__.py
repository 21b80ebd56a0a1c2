"""Makes public coefficients: which tasks, in what folder, and by which steps."""
