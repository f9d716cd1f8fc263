"""Pages and JSON of the library: they read rows and write people's orders."""
