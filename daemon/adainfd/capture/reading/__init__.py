"""Readers for each kind of source: files, pictures, devices, streams, snapshots and pipes."""
