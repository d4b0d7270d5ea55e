"""Sources of the generated dashboards: a file for each dashboard, and shared functions for panels and queries."""
