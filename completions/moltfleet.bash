# Completion of moltfleet for bash; the program itself knows its commands and names.
eval "$(moltfleet completion bash 2>/dev/null)"
