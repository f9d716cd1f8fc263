"""Pages and JSON of the library: they read rows and write what people want."""
