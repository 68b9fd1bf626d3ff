"""One act per file: a pure plan, then a perform over ports. Refuses to know libvirt, SSH or the terminal."""
