"""The health check: what this guest's memory, disks, processes and sessions are like, and what goes wrong next."""
