"""The `adainfd` commands, one module each: options and help; the implementation is imported when called."""
