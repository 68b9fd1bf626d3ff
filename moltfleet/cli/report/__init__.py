"""`moltfleet report`: one page about host and fleet, as HTML, Markdown or JSON."""
