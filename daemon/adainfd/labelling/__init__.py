"""Labelling: unsorted pictures are put into folders of classes, in the terminal or on a page."""
