"""What a run found: ``report.json``, and the table, figures and page made from it."""
