"""A likeness of Grafana: dashboards as pictures of vectors, from what a Prometheus knows."""
