"""libvirt behind ports: the only room that imports the libvirt binding; its objects never leave it."""
