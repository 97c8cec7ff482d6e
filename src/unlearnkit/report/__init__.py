"""What people look at: tables, figures and pages, made from scores and records only."""
