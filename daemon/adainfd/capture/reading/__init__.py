"""How a camera's process reads its source: files, devices, streams, snapshots, pipes."""
