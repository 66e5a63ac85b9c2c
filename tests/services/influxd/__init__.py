"""The real InfluxDB 2 for tests: its locked Go module, how it is built, and a server on a free loopback port."""
