"""Programs in scopes of their own, with limits that hold: started there, proven to be there, watched, told about."""
