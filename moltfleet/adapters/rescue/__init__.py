"""Where rescued work is stored and looked through: archives and git's files from hostile guests."""
