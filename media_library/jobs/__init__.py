"""Parts that every background job of the library uses."""
