"""What the dashboards are generated from: a file for each, and the few words they are written in."""
