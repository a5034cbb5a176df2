"""The model that recognises: selection, engine, warm-up, exports and timings."""
