"""What runs dbctl at its times: entries for cron, units for systemd, CronJobs for Kubernetes. Text, and no daemon."""
