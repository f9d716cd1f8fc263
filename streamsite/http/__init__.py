"""HTTP: middleware, responses, errors, uploads kept by forms, the server's worker."""
