"""Draws dashboards as SVG in the style of Grafana, from the data of a Prometheus server."""
