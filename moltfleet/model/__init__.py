"""Values and arithmetic of the fleet: frozen dataclasses, enums, errors, ports. No I/O, no third-party import."""
