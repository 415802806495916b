"""What shows lmserve's metrics: dashboards of Grafana, rules and configuration of Prometheus."""
