# Completion of moltfleet for fish; the program itself knows its commands and names.
moltfleet completion fish 2>/dev/null | source
