"""Journal, Battery Data Format, MQTT, clocks, files, the operating system."""
