"""Makes and changes what recognises: the model's selection, its engine, its warm-up, its exports and its times."""
