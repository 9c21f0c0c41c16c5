//! Configurations and zones in, findings out: expectations, black holes, loops, open relays.
