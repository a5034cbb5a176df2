"""The commands of `adainfd`, a module each: options and help; what does the work is imported as it is called."""
