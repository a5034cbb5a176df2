"""Collecting: pictures worth labelling are kept in a folder a view, which `adainfd label` sorts into classes."""
