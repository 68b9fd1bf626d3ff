"""Run a private libvirt host in Linux namespaces; refuse to touch the real one."""
