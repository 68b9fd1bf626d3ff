"""Build bootable disk images from Debian packages; download nothing but through apt."""
