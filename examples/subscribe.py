"""Prints each result of a running daemon, with pyzmq alone: `pip install pyzmq`."""

import json
import sys

import zmq

socket = zmq.Context().socket(zmq.SUB)
socket.connect(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5600")
socket.setsockopt_string(zmq.SUBSCRIBE, "result/")
while True:
    topic, body = socket.recv_multipart()
    result = json.loads(body)
    print(result["camera"], result["labels"][0]["label"], result["budget"]["limited_by"], flush=True)
